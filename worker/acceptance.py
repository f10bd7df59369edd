"""The filter's report: what each rule did to each category, and the class histogram before and after."""

from __future__ import annotations

from collections import Counter, defaultdict

from models.categories import CATEGORIES, IGNORE, find_category
from models.rfilter.quotas import quotas
from worker.jobs import Frozen
from worker.samples import RuleVerdict, SampleRecord

WARN_BELOW = 0.2  # acceptance of a category under which filtering is said to throw the hard class away


class RuleTally(Frozen):
    """Tries by what the rule said of them."""

    passed: int = 0
    failed: int = 0
    unknown: int = 0


class CategoryTally(Frozen):
    """One category, over the samples whose mask holds it.

    `requested` and `accepted` count samples, `generated` tries; `acceptance` is the share of tries accepted;
    `failed_by_rule` counts tries that the rule rejected; `pixels` are those of the delivered labels, `instances` the
    annotations of them. `quota`: the accepted samples that would show it, if as many were shared out in proportion to
    1/√frequency (R8): what to ask for as a goal where the rare categories matter.
    """

    id: int
    requested: int
    accepted: int
    generated: int
    acceptance: float | None
    failed_by_rule: dict[str, int]
    pixels: int
    instances: int
    quota: int


class GoalTally(Frozen):
    """What was wanted of a category, what there is, and why it is less."""

    wanted: int
    accepted: int
    reached: bool
    reason: str | None = None


class Report(Frozen):
    """`histogram_before`: pixels by class name over the masks of all tries; `after`: over the delivered labels."""

    rules: dict[str, RuleTally]
    categories: dict[str, CategoryTally]
    histogram_before: dict[str, int]
    histogram_after: dict[str, int]
    same_mask_distance: float | None = None
    pictures_not_kept: int = 0
    unfiltered: tuple[int, ...] = ()
    goal: dict[str, GoalTally] | None = None
    warnings: tuple[str, ...] = ()


class Tally:
    """Adds up the report, sample by sample; holds numbers only, whatever the size of the data set."""

    def __init__(self) -> None:
        self._rules: dict[str, Counter[str]] = defaultdict(Counter)
        self._failed: dict[int, Counter[str]] = defaultdict(Counter)
        self._requested: Counter[int] = Counter()
        self._accepted: Counter[int] = Counter()
        self._generated: Counter[int] = Counter()
        self._instances: Counter[int] = Counter()
        self._before: Counter[int] = Counter()
        self._after: Counter[int] = Counter()
        self._requested_with: Counter[int] = Counter()
        self._accepted_with: Counter[int] = Counter()
        self._unfiltered: list[int] = []
        self._not_kept = 0
        self.accepted = 0
        self.exhausted = 0
        self.generated = 0

    def tried(self, record: SampleRecord, verdicts: tuple[RuleVerdict, ...]) -> None:
        """One try and what the rules say of it."""
        self.generated += 1
        present = _present(record)
        for verdict in verdicts:
            said = {True: "passed", False: "failed", None: "unknown"}[verdict.passed]
            self._rules[verdict.name][said] += 1
            if verdict.passed is False:
                for category_id in present:
                    self._failed[category_id][verdict.name] += 1
        self._generated.update(present)
        self._before.update(record.pixels)
        if record.image is None:
            self._not_kept += 1
        if record.unfiltered and record.image is not None:
            self._unfiltered.append(record.index)

    def settled(self, record: SampleRecord) -> None:
        """One sample, by the try that decides it."""
        present = _present(record)
        shown = [find_category(name).id for name in record.labels.categories]
        self._requested.update(present)
        self._requested_with.update(shown)
        if not record.filter.accepted:
            self.exhausted += 1
            return
        self.accepted += 1
        self._accepted.update(present)
        self._accepted_with.update(shown)
        self._instances.update(annotation.category_id for annotation in record.labels.annotations)
        self._after.update(record.pixels)
        self._after.subtract(record.ignored)
        self._after[IGNORE] += sum(record.ignored.values())

    def requested_with(self, category_id: int) -> int:
        """Samples that were to show the category, on at least 1 % of their pixels."""
        return self._requested_with[category_id]

    def accepted_with(self, category_id: int) -> int:
        return self._accepted_with[category_id]

    def by_category(self) -> dict[int, tuple[int, int]]:
        """Tries generated and samples accepted of each category id."""
        return {
            category_id: (tries, self._accepted[category_id])
            for category_id, tries in self._generated.items()
        }

    def report(
        self, *, same_mask_distance: float | None = None, goal: dict[str, GoalTally] | None = None
    ) -> Report:
        present = {number: self._before[number] for number in self._generated}
        shares = quotas(present, sum(self._accepted.values()))
        categories = {
            CATEGORIES[category_id].name: CategoryTally(
                id=category_id,
                requested=self._requested[category_id],
                accepted=self._accepted[category_id],
                generated=self._generated[category_id],
                acceptance=_share(self._accepted[category_id], self._generated[category_id]),
                failed_by_rule=dict(sorted(self._failed[category_id].items())),
                pixels=self._after[category_id],
                instances=self._instances[category_id],
                quota=shares.get(category_id, 0),
            )
            for category_id in sorted(self._generated)
        }
        return Report(
            rules={name: RuleTally(**counts) for name, counts in self._rules.items()},
            categories=categories,
            histogram_before=_by_name(self._before),
            histogram_after=_by_name(self._after),
            same_mask_distance=same_mask_distance,
            pictures_not_kept=self._not_kept,
            unfiltered=tuple(self._unfiltered),
            goal=goal,
            warnings=tuple(
                f"{name}: only {tally.acceptance:.0%} of its tries were accepted. Blunt filters throw hard classes "
                "away: look at the unfiltered sample before you train."
                for name, tally in categories.items()
                if tally.acceptance is not None and tally.acceptance < WARN_BELOW
            ),
        )


def _present(record: SampleRecord) -> list[int]:
    return [category_id for category_id in record.pixels if category_id not in (0, IGNORE)]


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _by_name(pixels: Counter[int]) -> dict[str, int]:
    return {
        "ignore" if category_id == IGNORE else CATEGORIES[category_id].name: pixels[category_id]
        for category_id in sorted(pixels)
        if pixels[category_id]
    }
