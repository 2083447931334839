"""Which test shows what becomes of which fault; `make chaos` and the soak draw most of them at random besides."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A fault, and the tests that show what becomes of it: file below tests/, then functions.
CATALOGUE: dict[str, tuple[str, ...]] = {
    # Engines.
    "an engine is killed after it was given entries and before it began": (
        "faults/test_workers.py::test_a_worker_killed_before_it_enters_leaves_its_entries_to_others",
    ),
    "engines are killed while they answer": (
        "faults/test_delivery.py::test_every_message_is_answered_once_and_in_order",
    ),
    "an engine is killed after its commit was done and before it heard so": (
        "faults/test_lost_answers.py::test_a_worker_killed_before_it_hears_of_its_commit_changes_nothing",
    ),
    "an engine sleeps past its leases, and wakes up": (
        "faults/test_restarts.py::test_a_worker_that_slept_past_its_lease_is_refused",
    ),
    "two engines call themselves the same": (
        "faults/test_workers.py::test_names_of_consumers_are_never_the_same",
        "faults/test_workers.py::test_two_workers_with_one_name_double_nothing",
    ),
    "all engines are dead for a while": ("faults/test_workers.py::test_all_workers_may_be_dead_for_a_while",),
    "every role is replaced under load": (
        "faults/test_restarts.py::test_rolling_restarts_under_load_double_nothing_and_leave_no_names",
        "faults/test_load.py::test_rolling_restarts_of_every_role_lose_and_double_nothing",
        "end_to_end/test_rolling.py::test_every_service_is_replaced_under_load_and_nothing_is_lost_or_doubled",
    ),
    "a turn is longer than an engine may take to end": (
        "faults/test_restarts.py::test_a_turn_cut_off_by_a_restart_is_finished_by_another_worker",
    ),
    "a model hangs": ("faults/test_poison.py::test_a_model_that_hangs_meets_its_deadline",),
    "a message ends every process that works on it": (
        "faults/test_poison.py::test_a_message_that_ends_every_process_leaves_too",
    ),
    "a turn needs more memory than there is": (
        "faults/test_workers.py::test_a_turn_that_needs_too_much_memory_is_given_up_alone",
        "faults/test_workers.py::test_a_worker_that_the_system_kills_for_its_memory_costs_one_message",
    ),
    "a message fails every time": (
        "faults/test_poison.py::test_a_message_that_always_fails_leaves_after_five_attempts",
    ),
    "the clocks of engines are wrong by days": (
        "faults/test_workers.py::test_clocks_that_are_wrong_by_days_change_nothing",
        "connectors/test_runner.py::test_a_reply_is_as_old_as_redis_says",
    ),
    "turns are cancelled while engines are killed": (
        "faults/test_cancel.py::test_each_turn_ends_once_as_answered_or_cancelled",
    ),
    "writers of the archive are killed": (
        "faults/test_archive.py::test_killed_projectors_lose_and_double_nothing",
    ),
    # The way to Redis.
    "the answer to a commit or to entering a conversation is lost": (
        "faults/test_lost_answers.py::test_a_lost_answer_neither_doubles_nor_stalls",
        "faults/test_lost_answers.py::test_the_last_commit_of_a_conversation_may_lose_its_answer",
    ),
    "the answer to publishing is lost": (
        "faults/test_lost_answers.py::test_a_message_whose_acceptance_was_not_heard_is_stored_once",
        "faults/test_lost_answers.py::test_a_connector_that_publishes_ten_times_has_published_once",
    ),
    "entries are given to nobody": (
        "faults/test_lost_answers.py::test_entries_delivered_into_the_void_are_found_again",
    ),
    "the answer to giving back is lost": (
        "faults/test_lost_answers.py::test_a_head_given_back_without_answer_is_tried_again",
    ),
    "connections are cut and nobody is told": (
        "faults/test_server.py::test_a_cut_that_nobody_announces_is_noticed",
    ),
    "each command takes half a second": (
        "faults/test_server.py::test_half_a_second_for_each_command_doubles_nothing",
    ),
    # Redis itself.
    "Redis is killed under load": (
        "faults/test_delivery.py::test_every_message_is_answered_once_and_in_order",
        "hub/bus/test_embedded.py::test_what_it_accepted_is_there_after_it_was_killed",
    ),
    "the power is cut": (
        "faults/test_power_cut.py::test_default_settings_lose_nothing",
        "faults/test_power_cut.py::test_everysec_loses_no_more_than_is_said",
        "faults/test_power_cut.py::test_a_cut_drops_what_nobody_synced",
    ),
    "its disk is full": ("faults/test_server.py::test_a_full_disk_refuses_and_loses_nothing",),
    "its memory is full": ("faults/test_server.py::test_full_memory_refuses_whole_messages_and_loses_none",),
    "it stands still": ("faults/test_restarts.py::test_a_redis_that_stands_still_loses_and_doubles_nothing",),
    "it is set up so that it would lose messages": (
        "hub/bus/test_durability.py::test_each_way_to_lose_messages_is_refused",
        "end_to_end/test_roles.py::test_a_redis_that_would_lose_messages_is_refused",
    ),
    "it forgets its scripts": ("hub/bus/test_queue_model.py::test_scripts_agree_with_the_model",),
    "everything, a stream or a group is deleted": (
        "faults/test_damage.py::test_readers_outlive_the_removal_of_their_stream",
        "faults/test_damage.py::test_committed_messages_are_not_answered_again_by_a_new_group",
    ),
    "the stream is trimmed by hand": (
        "faults/test_damage.py::test_trimmed_messages_are_dead_letters_and_no_empty_turns",
    ),
    "a consumer that lives is deleted": (
        "faults/test_damage.py::test_work_of_a_consumer_removed_by_hand_is_found",
        "faults/test_damage.py::test_a_consumer_removed_under_its_reader_goes_on",
    ),
    "somebody writes junk into a stream": (
        "faults/test_damage.py::test_junk_becomes_dead_letters_and_stops_nothing",
    ),
    "a key holds something of another type": (
        "faults/test_damage.py::test_a_damaged_key_keeps_the_message_until_it_is_repaired",
    ),
    "a replica takes over from a master that dies": (
        "faults/test_sentinel.py::test_a_failover_under_load_loses_and_doubles_nothing",
        "faults/test_sentinel.py::test_without_wait_what_no_replica_had_is_lost",
        "faults/test_sentinel.py::test_a_worker_of_the_old_master_commits_nothing_on_the_new_one",
        "faults/test_sentinel.py::test_dead_letters_go_back_once_and_in_order_while_the_master_dies",
        "faults/test_cluster.py::test_a_master_that_dies_under_load_takes_nothing_with_it",
    ),
    "slots of a Cluster move": ("faults/test_cluster.py::test_slots_that_move_under_load_lose_nothing",),
    # Senders and the far side.
    "senders are killed while requests are under way": (
        "faults/test_sending.py::test_replies_arrive_in_order_and_copies_are_counted",
        "connectors/test_runner.py::test_a_request_whose_sender_died_is_unclear_until_it_is_settled",
    ),
    "a sender is killed before its request leaves, or before the answer is noted": (
        "faults/test_sending.py::test_a_reply_whose_sender_died_on_the_way_is_sent_by_the_next",
    ),
    "a sender sleeps past its lease": (
        "faults/test_sending.py::test_a_sender_that_slept_sends_nothing_more",
    ),
    "Telegram asks to wait": (
        "connectors/telegram/test_send.py::test_flood_wait_is_kept_for_its_chat_alone",
    ),
    "Telegram fails, cuts or says nothing": (
        "connectors/telegram/test_send.py::test_server_error_is_tried_later",
        "connectors/telegram/test_send.py::test_lost_connection_means_sending_again",
        "connectors/telegram/test_send.py::test_silence_is_an_unclear_end",
    ),
    "the bot is blocked, or a group moves": (
        "connectors/telegram/test_send.py::test_blocked_bot_is_refused_for_good",
        "connectors/telegram/test_send.py::test_moved_group_gets_the_reply_under_its_new_id",
    ),
    "a part in the middle of a reply fails": (
        "connectors/telegram/test_send.py::test_failing_part_holds_back_the_next",
    ),
    "a connector is killed before it confirms what it has stored": (
        "faults/test_edges.py::test_a_connector_killed_before_it_confirms_has_stored_the_message_once",
    ),
    "the same message is delivered fifty times at once": (
        "faults/test_edges.py::test_a_storm_of_redeliveries_is_one_message",
        "faults/test_edges.py::test_telegram_storms_the_webhook_while_redis_goes_away",
    ),
    "messages come while Redis is away": (
        "faults/test_edges.py::test_without_redis_the_far_side_is_asked_to_come_again",
        "faults/test_edges.py::test_telegram_storms_the_webhook_while_redis_goes_away",
        "connectors/telegram/test_webhook.py::test_overload_asks_telegram_to_come_back",
        "connectors/email/test_mailbox.py::test_busy_bus_keeps_the_mail_in_its_mailbox",
    ),
    "more comes in than can be answered": (
        "faults/test_load.py::test_overload_is_refused_in_sight_and_what_is_accepted_is_answered",
        "faults/test_edges.py::test_one_sender_fills_a_conversation_and_no_more",
        "hub/bus/test_consumer.py::test_long_lanes_let_others_have_their_slot",
        "connectors/web/test_bad_input.py::test_bus_that_refuses_is_told_and_the_message_can_come_again",
    ),
    "a mail server hangs up, says nothing, or stops in the middle": (
        "connectors/email/test_mailbox.py::test_failing_server_is_left_and_found_again",
    ),
    "a mailbox begins to count anew": (
        "connectors/email/test_mailbox.py::test_changed_uid_validity_answers_nothing_twice",
    ),
    "a mail server dies over a mail, refuses for now, or for good": (
        "connectors/email/test_sending.py::test_server_that_dies_over_a_mail_holds_it_once",
        "connectors/email/test_sending.py::test_greylisted_reply_arrives_once_its_time_has_come",
        "connectors/email/test_sending.py::test_bounce_is_recorded_and_never_answered",
    ),
    "two hubs answer each other's mail": ("connectors/email/test_loops.py::test_two_hubs_stop_at_the_caps",),
    "a program answers every answer, and all else fails meanwhile": (
        "faults/test_chaos.py::test_every_promise_holds_while_everything_fails",
    ),
    "a page vanishes in the middle of an answer": (
        "connectors/web/test_redis.py::test_answer_cut_five_hundred_times_is_exact_on_any_process",
    ),
    "a page reads nothing": ("connectors/web/test_session.py::test_page_that_was_too_slow_has_lost_nothing",),
    "somebody is erased while they are answered": (
        "hub/erasure/test_eraser.py::test_a_turn_that_runs_meanwhile_cannot_be_committed",
        "hub/erasure/test_retiring.py::test_what_a_retiring_engine_hands_over_holds_nothing_of_the_erased",
    ),
    "all of these at once": ("faults/test_chaos.py::test_every_promise_holds_while_everything_fails",),
}


OF_THE_TOOLS = ("test_catalogue.py", "test_checker.py")
OF_THE_SET_UP = {
    "test_chaos.py": {"test_the_command_takes_seed_minutes_and_faults"},
    "test_sentinel.py": {
        "test_every_server_is_looked_at",
        "test_what_is_wrong_with_the_sentinels_is_told",
        "test_vectors_ask_the_sentinels_too",
    },
}
"""Tests beside those of faults, which show no fault."""


def test_the_tests_of_every_fault_exist_and_are_run() -> None:
    """A name that is not there any more, or is skipped, would promise what nobody shows."""
    for name in [name for names in CATALOGUE.values() for name in names]:
        file, _, function = name.partition("::")
        marks = _functions(ROOT / "tests" / file).get(function)
        assert marks is not None, name
        assert not any("skip" in mark or "xfail" in mark for mark in marks), name


def test_every_test_of_a_fault_names_its_fault() -> None:
    """Whoever adds one says in the catalogue what it shows."""
    named = {name for names in CATALOGUE.values() for name in names}
    for path in sorted((ROOT / "tests" / "faults").glob("test_*.py")):
        if path.name in OF_THE_TOOLS:
            continue
        functions = {name for name in _functions(path) if name.startswith("test_")}
        beside = OF_THE_SET_UP.get(path.name, set())
        assert beside <= functions, path.name
        unnamed = {name for name in functions if f"faults/{path.name}::{name}" not in named}
        assert unnamed == beside, path.name


def _functions(path: Path) -> dict[str, list[str]]:
    """Return the functions of a file with their decorators."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    defined = [each for each in ast.parse(path.read_text("utf-8")).body if isinstance(each, kinds)]
    return {each.name: [ast.unparse(mark) for mark in each.decorator_list] for each in defined}
