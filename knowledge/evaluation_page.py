"""The report of an evaluation as one HTML page: plots as SVG, every question with what was found for it.

The page needs nothing beside itself: no scripts, no fonts, no styles from elsewhere.
"""

from collections.abc import Iterable, Sequence
from html import escape

from knowledge.evaluation import RECALL_AT, Evaluation, QuestionReport

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1d22; --paper: #fff; --quiet: #666b75; --line: #d9dce3; --bar: #3867d6;
  --good: #1e8449; --bad: #b03a2e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaf0; --paper: #15171c; --quiet: #9aa0ad; --line: #343842;
  --bar: #7aa2ff; --good: #58d68d; --bad: #f1948a; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.quiet { color: var(--quiet); } .good { color: var(--good); } .bad { color: var(--bad); }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; } dt { color: var(--quiet); font-size: .85rem; }
dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
figure { margin: 0; display: inline-block; max-width: 100%; } figcaption { color: var(--quiet); font-size: .85rem; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .axis { stroke: var(--line); } svg .bar { fill: var(--bar); } svg .label { fill: var(--quiet); }
details { border-top: 1px solid var(--line); padding: .4rem 0; } summary { cursor: pointer; }
summary .rank { display: inline-block; min-width: 3.2rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
td, th { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-top: 1px solid var(--line); }
"""
_WIDTH, _HEIGHT, _TOP, _BOTTOM = 440, 200, 18, 34
_PLACES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)


def evaluation_page(evaluation: Evaluation) -> str:
    """Write the page; every text of documents and questions is escaped."""
    worst_first = sorted(evaluation.questions, key=lambda report: (report.ndcg, report.reciprocal_rank))
    head = (
        f"{len(evaluation.questions)} questions, {evaluation.chunks} passages, version {evaluation.version}, "
        f"{evaluation.at:%Y-%m-%d %H:%M} UTC"
    )
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>Retrieval: {escape(evaluation.name)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>Retrieval: {escape(evaluation.name)}</h1>",
            f'<p class="quiet">{escape(head)}<br>{escape(evaluation.ranking)}</p>',
            _numbers(evaluation),
            "<h2>Where the answer stands</h2>",
            _recall_plot(evaluation),
            _rank_plot(evaluation.questions),
            _time_plot(evaluation.questions),
            '<h2>Questions</h2><p class="quiet">The worst come first.</p>',
            *map(_question, worst_first),
            "</body></html>\n",
        ]
    )


def _numbers(evaluation: Evaluation) -> str:
    shown = [(f"recall@{k}", f"{evaluation.recall[k]:.3f}") for k in RECALL_AT]
    shown += [("MRR", f"{evaluation.mrr:.3f}"), ("nDCG@10", f"{evaluation.ndcg:.3f}")]
    shown += [("p50", f"{evaluation.p50_ms:.0f} ms"), ("p95", f"{evaluation.p95_ms:.0f} ms")]
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in shown) + "</dl>"


def _recall_plot(evaluation: Evaluation) -> str:
    bars = [(str(k), evaluation.recall[k], f"{evaluation.recall[k]:.2f}") for k in RECALL_AT]
    return _bars(bars, top=1.0, caption="Recall: share of the wanted passages among the first k")


def _rank_plot(questions: Sequence[QuestionReport]) -> str:
    counts = [(str(place), sum(report.rank == place for report in questions)) for place in _PLACES]
    counts.append(("later", sum(report.rank > _PLACES[-1] for report in questions)))
    counts.append(("never", sum(report.rank == 0 for report in questions)))
    bars = [(label, float(count), str(count)) for label, count in counts]
    caption = "Questions by the place of the first passage that answers them"
    return _bars(bars, top=max(value for _, value, _ in bars), caption=caption)


def _time_plot(questions: Sequence[QuestionReport]) -> str:
    limits = (5, 10, 20, 50, 100, 200, 500)
    edges = zip((0, *limits), (*limits, float("inf")), strict=True)
    labels = [*(f"<{limit}" for limit in limits), f"≥{limits[-1]}"]
    counts = [sum(low <= report.took_ms < high for report in questions) for low, high in edges]
    bars = [(label, float(count), str(count)) for label, count in zip(labels, counts, strict=True)]
    return _bars(bars, top=max(counts), caption="Questions by the milliseconds their search took")


def _bars(bars: Sequence[tuple[str, float, str]], *, top: float, caption: str) -> str:
    step = _WIDTH / len(bars)
    room = _HEIGHT - _TOP - _BOTTOM
    floor = _HEIGHT - _BOTTOM
    parts = [f'<line class="axis" x1="0" y1="{floor}" x2="{_WIDTH}" y2="{floor}"/>']
    for number, (label, value, shown) in enumerate(bars):
        height = room * value / top if top else 0
        middle = (number + 0.5) * step
        parts.append(
            f'<rect class="bar" x="{middle - step * 0.35:.1f}" y="{floor - height:.1f}" width="{step * 0.7:.1f}" '
            f'height="{height:.1f}"/>'
            f'<text x="{middle:.1f}" y="{floor - height - 4:.1f}" text-anchor="middle">{escape(shown)}</text>'
            f'<text class="label" x="{middle:.1f}" y="{floor + 16}" text-anchor="middle">{escape(label)}</text>'
        )
    described = "; ".join(f"{label}: {shown}" for label, _, shown in bars)
    return (
        f'<figure><svg role="img" aria-label="{escape(f"{caption}. {described}")}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _question(report: QuestionReport) -> str:
    colour = "good" if report.rank == 1 else "bad" if report.rank == 0 else "quiet"
    rank = f"#{report.rank}" if report.rank else "none"
    wanted = ", ".join(report.targets)
    return (
        f'<details><summary><span class="rank {colour}">{rank}</span> {escape(report.question)}</summary>'
        f'<p class="quiet">wanted: {escape(wanted)} · nDCG {report.ndcg:.2f} · {report.took_ms:.0f} ms</p>'
        f"<table>{''.join(_rows(report))}</table></details>"
    )


def _rows(report: QuestionReport) -> Iterable[str]:
    for place, passage in enumerate(report.passages, start=1):
        mark = '<span class="good">✓</span>' if passage.is_relevant else ""
        where = f"{passage.source} · {passage.heading}" if passage.heading else passage.source
        yield (
            f"<tr><td>{place} {mark}</td><td>{passage.score:.2f}</td>"
            f'<td>{escape(where)}<br><span class="quiet">{escape(passage.text)}</span></td></tr>'
        )
