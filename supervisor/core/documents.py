"""The shapes of what the API answers. Stable: other programs read them. Times are ISO 8601 with their zone, or null.

`views.py` fills them, under the type checker's eyes; the OpenAPI document is made from them. So it is true.
"""

from __future__ import annotations

from typing_extensions import TypedDict


class HolderDoc(TypedDict):
    """Who pauses all acting, why and until when (null: until resumed)."""

    name: str
    reason: str
    actor: str
    since: str | None
    until: str | None


class ImageDoc(TypedDict):
    """A golden image: its immutable id and its human version."""

    id: str
    version: str


class InventoryDoc(TypedDict):
    """The cloud's list of machines: how old it is, and why it is not newer."""

    age_seconds: float | None
    error: str


class AmnestyDoc(TypedDict):
    """Clean rounds of results seen, and needed, before anything may be removed."""

    clean_rounds: int
    needed: int


class InstanceDoc(TypedDict):
    """One instance in short. `doing` is what is being done with it, '' for nothing.

    `held` says who keeps it untouched and why, also where that is written on the machine itself. `impaired` is what the
    cloud's own status checks find wrong, `notices` what the cloud announces for it.
    """

    id: str
    fleet: str
    lifecycle: str
    health: str
    reason: str
    zone: str
    slot: int | None
    address: str
    image: str
    version: str
    image_status: str
    registered: bool | None
    load_balancer: str
    machine: str
    created_at: str | None
    since: str | None
    held_until: str | None
    hold_reason: str
    held: str
    impaired: str
    notices: list[str]
    doing: str
    incident: int | None


class PointDoc(TypedDict):
    """One measurement."""

    at: str | None
    value: float


class MetricDoc(TypedDict):
    """A number that a check measures of an instance, oldest point first; in base units, which its label may name."""

    check: str
    label: str
    points: list[PointDoc]


class VerdictDoc(TypedDict):
    """What is judged to be wrong with a fleet: a cause, and what the sick share ("zone", "a"; in `words`, "zone a").

    `instance` is each for itself, and also the verdict where nobody is sick. `sentence` is '' where there is nothing to say.
    """

    cause: str
    label: str
    value: str
    words: str
    probability: float
    since: str | None
    sentence: str


class FleetDoc(TypedDict):
    """One fleet, with its instances. In a `storm` more are sick at once than the breaker allows: nobody is removed."""

    name: str
    environment: str
    state: str
    mode: str
    desired: int
    serving: int
    suspect: list[str]
    sick: list[str]
    storm: bool
    verdict: VerdictDoc
    lifecycles: dict[str, int]
    image: ImageDoc | None
    configured_image: ImageDoc
    quarantined: int
    open_incidents: list[int]
    last_healed_at: str | None
    inventory: InventoryDoc
    amnesty: AmnestyDoc
    instances: list[InstanceDoc]


class OverviewDoc(TypedDict):
    """The engine's state: who holds it, and every fleet."""

    mode: str
    paused: list[HolderDoc]
    blind: str
    started_at: str | None
    fleets: list[FleetDoc]
    unmanaged: list[str]


class StoreDoc(TypedDict):
    """The state file: commits since the start, and why it refuses them ('' while it does not)."""

    commits: int
    refuses: str


class ProberDoc(TypedDict):
    """The process that runs the built-in checks: starts, missed starts, and start lag in seconds."""

    alive: bool
    restarts: int
    started: int
    missed: int
    in_flight: int
    lag_p50: float
    lag_p99: float
    lag_max: float


class SurfaceDoc(TypedDict):
    """A surface that is told things: how many messages wait for it, and why."""

    name: str
    waiting: int
    trouble: str


class FiguresDoc(TypedDict):
    """What the shell around the engine knows of itself."""

    version: str
    config: str
    config_refused: list[str]
    warnings: list[str]
    store: StoreDoc
    steps_under_way: int
    prober: ProberDoc
    surfaces: list[SurfaceDoc]


class StatusDoc(OverviewDoc, FiguresDoc):
    """The whole state in short."""


class ApprovalDoc(TypedDict):
    """A person's word on an incident."""

    actor: str
    granted: bool
    expires_at: str | None


class FactDoc(TypedDict):
    """A figure of a card."""

    label: str
    value: str


class CardDoc(TypedDict):
    """What a person must see first: the same words as in chat. `ask` is a command that a person may give now."""

    tone: str
    headline: str
    impact: str
    held: list[str]
    ask: str
    facts: list[FactDoc]


class IncidentDoc(TypedDict):
    """One incident without its story.

    Of a `shared` one `instance` is '', and `about` says what its machines have in common. `verdict` is the cause as it
    was last judged, `sure` how likely that is: 0 while it is not.
    """

    id: int
    fleet: str
    instance: str
    kind: str
    about: str
    verdict: str
    sure: float
    state: str
    cause: str
    suspected_at: str | None
    opened_at: str | None
    resolved_at: str | None
    closed_at: str | None
    resolution: str
    replacement: str
    held_by: list[str]
    version: int
    approval: ApprovalDoc | None
    acknowledged_by: str
    seconds_to_detect: float
    seconds_to_recover: float | None
    card: CardDoc


class NoteDoc(TypedDict):
    """One line of a story."""

    at: str | None
    text: str


class StepDoc(TypedDict):
    """One try of one step: when it was intended and done, and why it failed."""

    name: str
    attempt: int
    status: str
    intent_at: str | None
    done_at: str | None
    tries: int
    reason: str


class WorkflowDoc(TypedDict):
    """A frozen plan and how far it came."""

    id: int
    kind: str
    remediation: str
    state: str
    patient: str
    candidate: str
    slot: int | None
    plan: list[str]
    position: int
    attempt: int
    steps: list[StepDoc]
    outcome: str


class CheckSeenDoc(TypedDict):
    """What a check said last, and since when."""

    name: str
    status: str
    since: str | None
    text: str


class DossierDoc(TypedDict):
    """What a person would look up first about an incident, at its `moment`: opening, or removal of its machine.

    `why` is the reason in a sentence, `signature` how the machine fails without what varies, `cloud` what cloud and load
    balancer say. `log` are its last lines, oldest first, `telling` the one of them that says most; `log_trouble` says why
    there are none, and `log_at` is null until they were read. Secrets are masked.
    """

    moment: str
    at: str | None
    why: str
    signature: str
    checks: list[CheckSeenDoc]
    cloud: str
    changes: list[str]
    log: list[str]
    log_at: str | None
    log_trouble: str
    telling: str


class StoryDoc(IncidentDoc):
    """One incident with its story, its dossiers and its workflows.

    `fingerprint` names its kind, '' while that is not known; `alike` are the incidents of that kind in the seven days
    before it, oldest first, and `alike_in_words` says the same to people.
    """

    fingerprint: str
    alike: list[int]
    alike_in_words: str
    dossiers: list[DossierDoc]
    story: list[NoteDoc]
    workflows: list[WorkflowDoc]


class QuarantineDoc(TypedDict):
    """A machine that was set aside and is kept, with its last results.

    `held` says who keeps it beyond its time, '' for nobody. `ends_at` is when its announced end is due at the earliest,
    null while none is announced.
    """

    instance: str
    fleet: str
    incident: int
    cause: str
    lifecycle: str
    zone: str
    isolated_at: str | None
    stops_at: str | None
    expires_at: str | None
    stopped: bool
    held_until: str | None
    held: str
    ends_at: str | None
    ended_at: str | None
    ended_by: str
    results: list[str]
    capture: str


class ScoreDoc(TypedDict):
    """One score of a check, and where it condemns."""

    name: str
    value: float
    condemns_at: float


class CheckDoc(TypedDict):
    """What one check has shown of an instance. It condemns when `suspicion` reaches `condemns_at`, and long enough.

    `scores` are all of its scores; the first is `suspicion`. `standing` says whether it may vote.
    """

    name: str
    role: str
    scope: str
    depends_on: list[str]
    version: str
    standing: str
    scores: list[ScoreDoc]
    status: str
    text: str
    age_seconds: float | None
    stale: bool
    passes_in_a_row: int
    failures_in_a_row: int
    suspicion: float
    condemns_at: float
    failing_for_seconds: float | None


class ReadingDoc(TypedDict):
    """One guard's answer, with the value that it saw and the threshold that it keeps."""

    guard: str
    holds: bool
    value: str
    threshold: str


class DecisionDoc(TypedDict):
    """What is decided about an instance, and why."""

    what: str
    why: str


class ChangeDoc(TypedDict):
    """Something that was changed: what breaks soon after is likelier to come of it. `fleet` '' means every fleet."""

    id: int
    at: str | None
    kind: str
    target: str
    text: str
    actor: str
    fleet: str


class ExplanationDoc(TypedDict):
    """One answer to what is wrong, with its weight, and what speaks for it."""

    cause: str
    words: str
    probability: float
    evidence: list[str]


class JudgedDoc(VerdictDoc):
    """A verdict with what it rests on: the best explanations, changes of late, and whether the others were asked afresh.

    A machine is removed only where it is its own fault with a probability of `needed` or more. `challenge` says how the
    challenge stands, and `challenged` whether it is passed, or not needed.
    """

    needed: float
    explanations: list[ExplanationDoc]
    challenged: bool
    challenge: str
    changes: list[ChangeDoc]


class ExplainDoc(TypedDict):
    """Why an instance is judged as it is. `guards` are by act: remediate, withdraw, launch, isolate.

    `waits_for` is what must pass or be seen before the answer changes. `shared` are the open incidents of the fleet that
    are about many.
    """

    instance: InstanceDoc
    verdict: JudgedDoc | None
    decision: DecisionDoc
    waits_for: list[str]
    shared: list[IncidentDoc]
    checks: list[CheckDoc]
    incident: IncidentDoc | None
    workflow: WorkflowDoc | None
    guards: dict[str, list[ReadingDoc]]


class FleetExplainDoc(TypedDict):
    """What is wrong with a fleet, how sure that is, what is done about it, and every guard."""

    name: str
    state: str
    mode: str
    desired: int
    serving: int
    sick: list[str]
    suspect: list[str]
    verdict: JudgedDoc
    decision: DecisionDoc
    waits_for: list[str]
    shared: list[IncidentDoc]
    guards: dict[str, list[ReadingDoc]]


class EventDoc(TypedDict):
    """Something that happened, as the event stream tells it. `incident` is 0 where there is none."""

    id: int
    time: str
    type: str
    fleet: str
    instance: str
    incident: int
    text: str


class AnswerDoc(TypedDict):
    """The answer to an operator, committed."""

    text: str


class ErrorDoc(TypedDict):
    """Why a request was refused, in one sentence."""

    error: str
