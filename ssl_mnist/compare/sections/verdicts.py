"""Which configuration is better, in words."""

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.statistics import Verdict, seeds_needed
from ssl_mnist.pages import Details, Items, Note, Part, Section

MAX_VERDICTS = 60


def section(comparison: Comparison) -> Section:
    return Section("verdicts", "Which is better?", _parts(comparison))


def _parts(comparison: Comparison) -> list[Part]:
    verdicts, num = comparison.verdicts, len(comparison.groups)
    if not verdicts:
        return [Note("One configuration alone, or none on the same data: nothing to compare.", "")]
    decided = [verdict for verdict in verdicts if verdict.kind != "too few seeds"]
    few = [verdict for verdict in verdicts if verdict.kind == "too few seeds"]
    parts: list[Part] = []
    if few:
        most = max(verdict.difference.n for verdict in few)
        which = "any two configurations" if not decided else f"{len(few)} of {_comparisons(len(verdicts))}"
        text = (
            f"Too few seeds to tell {which} apart: at most {most} in common, and at least {seeds_needed()} are needed "
            "for a paired permutation test to reach p = 0.05. The means above are what was measured, not a verdict."
        )
        parts.append(Note(text, ""))
    best, score = comparison.ranking[0], verdicts[0].score
    first = [verdict for verdict in decided if verdict.score == score and best in (verdict.first, verdict.second)]
    others = [verdict for verdict in decided if verdict not in first]
    parts += _words(first)
    if others:
        summary = _comparisons(len(others)) + (" of other scores or configurations" if first else "")
        parts.append(Details(summary, _words(others)))
    pairs = len({(verdict.first, verdict.second) for verdict in verdicts})
    if num > 2 and pairs == num - 1:
        parts.append(Note("Each configuration is compared with the best alone."))
    if len(decided) > 1:
        caution = (
            f"{len(decided)} comparisons. p is corrected for all pairs of configurations on one score, so that where nothing differs, "
            "at most one score in 20 says better anywhere; scores are not corrected for each other"
        )
        how = "Paired by seed; sign-flip permutation test (step-down maxT, Westfall and Young 1993), Student's t interval"
        parts.append(Note(f"{caution}. {how}."))
    return parts


def _comparisons(number: int) -> str:
    return f"{number:,} comparison{'s' * (number != 1)}"


def _words(verdicts: list[Verdict]) -> list[Part]:
    items = [Items.Item(verdict.words) for verdict in verdicts[:MAX_VERDICTS]]
    if len(verdicts) > MAX_VERDICTS:
        items.append(Items.Item(f"{len(verdicts) - MAX_VERDICTS} more in comparison.json", soft=True))
    return [Items(items)] if items else []
