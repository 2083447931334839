"""Are answers grounded? The FAQ of Python's documentation is taken in, each of its headings is asked, and 60 questions it does not answer.

The sections are taken in without their headings, so that no question finds its own words. The whole hub's assistant
answers with the bundled models. The package is used where it is installed, else fetched by apt-get into --cache.

python -m benchmarks.answers                         all questions; about a minute
python -m benchmarks.answers --short                 a quarter of them
python -m benchmarks.answers --corpus perl-faq       the headings of another documentation; see benchmarks.retrieving.corpora
python -m benchmarks.answers --write answers.md      with all answers, for a person to read
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.answering.asking import Asked, Hub
from benchmarks.answering.judge import Judged, judge
from benchmarks.answering.sections import DocumentedSection, sections_of, write_pages
from benchmarks.answering.unanswerable import ABOUT_PYTHON, FALSE_PREMISE, OFF_TOPIC, UNANSWERABLE
from benchmarks.retrieving.corpora import SOURCES
from hub.logs import LogSettings, configure_logs

SEED = 5
ASKED_CORPUS = "python-faq"
AIMS = {"right source": 0.80, "supported": 0.98, "declined": 0.90}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A heading that was asked, and how the answer is judged."""

    section: DocumentedSection
    asked: Asked
    sentences: tuple[Judged, ...]

    @property
    def locations(self) -> list[str]:
        """Sections that the answer names, in their order."""
        return [source.location for source in self.asked.answer.sources]

    @property
    def is_right(self) -> bool:
        """Whether the first source is the section under the heading."""
        return self.locations[:1] == [self.section.location]

    @property
    def is_supported(self) -> bool:
        """Whether every sentence is borne out by the source it names."""
        return bool(self.sentences) and all(sentence.is_supported for sentence in self.sentences)


def main() -> None:
    """Ask, judge and print."""
    chosen = _arguments()
    configure_logs(LogSettings(level="error"))
    source = next(source for source in SOURCES if source.name == chosen.corpus)
    try:
        sections = sections_of(source, chosen.cache)
    except FileNotFoundError as error:
        sys.exit(str(error))
    headed = [section for section in sections if section.question]
    if chosen.short:
        headed = random.Random(SEED).sample(headed, len(headed) // 4)
    unanswerable = UNANSWERABLE if chosen.corpus == ASKED_CORPUS else OFF_TOPIC
    print(
        f"{source.package}: {len(sections)} sections, {len(headed)} headings asked. The models are greedy; seed {SEED}."
    )
    answered, declined = asyncio.run(_ask(sections, headed, unanswerable))
    _print(answered, declined)
    if chosen.write:
        chosen.write.write_text(_page(answered, declined), "utf-8")
        print(f"\nAll answers: {chosen.write}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Are answers grounded?")
    parser.add_argument("--short", action="store_true", help="ask a quarter of the headings")
    parser.add_argument("--corpus", choices=[source.name for source in SOURCES], default=ASKED_CORPUS)
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/hubbub-benchmarks").expanduser())
    parser.add_argument("--write", type=Path, help="a file for all questions and answers")
    return parser.parse_args()


async def _ask(
    sections: Sequence[DocumentedSection], headed: Sequence[DocumentedSection], unanswerable: Sequence[str]
) -> tuple[list[Answered], list[Asked]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pages(sections, folder / "documents")
        (folder / "data").mkdir()
        async with Hub.open(folder / "documents", folder / "data") as hub:
            asked = await hub.ask([section.question for section in headed], _progress)
            others = await hub.ask(unanswerable, _progress)
    seen = {section.location: section.seen for section in sections}
    answered = [
        Answered(
            section=section, asked=one, sentences=tuple(judge(one.answer.text, one.answer.sources, seen))
        )
        for section, one in zip(headed, asked, strict=True)
    ]
    return answered, others


def _progress(count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{count}", end="", file=sys.stderr, flush=True)


def _print(answered: Sequence[Answered], others: Sequence[Asked]) -> None:
    right = [one.is_right for one in answered]
    named = [one.section.location in one.locations for one in answered]
    shown = [one for one in answered if not one.asked.is_declined]
    sentences = [sentence.is_supported for one in shown for sentence in one.sentences]
    took = [one.asked.took_s for one in answered] + [one.took_s for one in others]
    print(f"\nright section first among the sources   {_share(right)}   aim {AIMS['right source']:.2f}")
    print(f"right section among the sources         {_share(named)}")
    print(f"right, of the questions answered        {_share([one.is_right for one in shown])}")
    print(
        f"answers whose every sentence is borne out {_share([one.is_supported for one in shown])}   aim {AIMS['supported']:.2f}"
    )
    print(f"sentences borne out                     {_share(sentences)}")
    print(
        f"unanswerable questions declined         {_share([one.is_declined for one in others])}   aim {AIMS['declined']:.2f}"
    )
    for name, group in (
        ("about Python", ABOUT_PYTHON),
        ("false premise", FALSE_PREMISE),
        ("off topic", OFF_TOPIC),
    ):
        if found := [one.is_declined for one in others if one.question in group]:
            print(f"  {name:38}{_share(found)}")
    print(f"routes, headings        {dict(Counter(one.asked.route for one in answered).most_common())}")
    print(f"routes, unanswerable    {dict(Counter(one.route for one in others).most_common())}")
    print(f"seconds per answer      p50 {np.quantile(took, 0.5):.2f}, p95 {np.quantile(took, 0.95):.2f}")


def _share(found: Sequence[bool]) -> str:
    return f"{sum(found) / len(found):.3f} ({sum(found)} of {len(found)})" if found else "none"


def _page(answered: Sequence[Answered], others: Sequence[Asked]) -> str:
    """Write all answers one below the other, for a person to read."""
    parts = []
    for one in answered:
        verdict = "declined" if one.asked.is_declined else "right" if one.is_right else "other section"
        unsupported = "".join(
            f"\nNOT BORNE OUT: {s.text}" for s in one.sentences if not s.is_supported and one.locations
        )
        places = f"[{verdict}, {one.asked.route}] asked for {one.section.location}, named {', '.join(one.locations) or 'none'}"
        parts.append(f"## {one.section.question}\n{places}\n\n{one.asked.answer.text}{unsupported}")
    for other in others:
        verdict = "declined" if other.is_declined else "NOT DECLINED"
        parts.append(f"## {other.question}\n[unanswerable, {verdict}, {other.route}]\n\n{other.answer.text}")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
