"""What a task consists of: its sections with their settings, which an unknown key or a bad value is refused by.

`robot_rl.task_files` reads them. The twin's own section is handed on as it is: `sim_twin` checks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from robot_rl.errors import ConfigError, nearest
from robot_rl.types import canonical_hash


class Section(BaseModel):
    """A part of a task file: frozen, and nothing unknown in it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _yes_is_no_number(cls, values: Any) -> Any:
        """Pydantic takes true for 1."""
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            wanted = set() if field is None else set(_named_in(field.annotation))
            if wanted & {int, float} and bool not in wanted and (said := next(_booleans(value), None)) is not None:
                raise ValueError(f"{name}: expected a number, got {str(said).lower()}")
        return values


def _named_in(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _named_in(part)


def _booleans(value: Any) -> Iterator[bool]:
    """Those in a value, and in the lists that it is made of."""
    if isinstance(value, bool):
        yield value
    for part in value if isinstance(value, list | tuple | set) else ():
        yield from _booleans(part)


class LimitsConfig(Section):
    """What the safety filter allows, per control step."""

    workspace_low: tuple[float, float, float]
    """m, base frame: lowest TCP position that may be commanded."""
    workspace_high: tuple[float, float, float]
    """m, base frame."""
    step_m: float = Field(gt=0)
    """m: longest TCP displacement of one control step."""
    seam_m: float = Field(gt=0)
    """m: largest change of displacement from one control step to the next (jerk at chunk seams)."""
    tolerance: float = Field(ge=1)
    """A step beyond a limit by less than this factor is clipped, beyond it the chunk is rejected."""
    gripper_low: float = 0.0
    """m."""
    gripper_high: float = 0.08
    """m."""


class GuardConfig(Section):
    """The guard's deadlines, ms."""

    operator_ms: float = Field(default=500.0, gt=0)
    """Without a renewal from the operator for this long, the robot holds."""
    observation_ms: float = Field(default=200.0, gt=0)
    """Observations older than this are not acted on."""
    command_ms: float = Field(default=150.0, gt=0)
    """No command for this long while an episode runs: the robot holds."""


class PolicyConfig(Section):
    """The frozen backbone and how it is made from demonstrations."""

    checkpoint: str
    """File name beside the task file, or a path: safetensors with its manifest."""
    kind: Literal["flow", "mlp"] = "flow"
    """flow: noise becomes a chunk, beside it a bottleneck; mlp: plain regression, without noise and bottleneck."""
    demonstrations: int = Field(default=600, ge=1)
    horizon: int = Field(default=8, ge=1)
    """T, steps per chunk."""
    hidden: int = Field(default=256, ge=1)
    layers: int = Field(default=3, ge=1)
    embedding: int = Field(default=64, ge=1)
    """Size of the observation embedding c."""
    latent: int = Field(default=16, ge=1)
    """Z, size of the variational bottleneck on c (ZPRL section 4)."""
    kl_weight: float = Field(default=1e-4, ge=0)
    ode_steps: int = Field(default=8, ge=1)
    """Euler steps from noise to chunk."""
    train_steps: int = Field(default=2000, ge=1)
    bottleneck_steps: int = Field(default=1000, ge=1)
    batch: int = Field(default=512, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    seed: int = Field(default=0, ge=0)
    backbone: dict[str, Any] | None = None
    """Another one of `policy.backbones`, which checks it (`settings.BackboneConfig`); None: what `kind` says."""


class MethodConfig(Section):
    """One adapter's settings; the field's names, see `robot_rl.adapters`; `robot_rl.methods` says who reads what."""

    noise_layout: Literal["full", "repeat", "low_rank", "none"] = "full"
    """Which noise the steer spans (`adapters.layout`); none: the base policy keeps its own w ~ N(0, I)."""
    noise_rank: int = Field(default=8, ge=1)
    """r: directions of the layout low_rank."""
    noise_seed: int = Field(default=0, ge=0)
    """Of the random orthonormal basis that low_rank spans; the same seed is the same basis, in every run."""
    noise_bound: float = Field(default=1.5, gt=0)
    """b_W: the actor's noise lies in [-b_W, b_W]."""
    residual_layout: Literal["none", "constant", "per_step"] = "none"
    residual_scale: tuple[Annotated[float, Field(ge=0, le=1)], ...] | Literal["full"] = ()
    """alpha: bound of the residual per control step, SI units, one per action entry (0 leaves an entry alone).

    full: half the action range, so that every action can be reached from the middle of the range.
    """
    residual_std: float = Field(default=1.0, gt=0.0068, le=2)
    """Standard deviation of the residual's entries before tanh that an actor begins with: how boldly it tries them.

    An actor's standard deviations end at e^-5 = 0.0067 (`learn.sac`).
    """
    residual_horizon: int = Field(default=0, ge=0)
    """H: executed chunks over which the chance of applying the residual rises from 0 to 1."""
    latent_scale: float = Field(default=0.0, ge=0)
    """lambda: bound of the shift of each entry of the bottleneck latent z, in z's own units (`latent.scale_by_rms`)."""
    latent_rank: int = Field(default=0, ge=0)
    """r: shifted are the first r entries of z, which move the chunk most (`policy.latent_axes`); 0: all, as in ZPRL."""
    trust_region: float = Field(default=0.35, gt=0)
    """delta: what E ||Delta||^2 may be, summed over the steered dimensions of the noise, in units of its variance."""
    dual_rate: float = Field(default=1e-4, gt=0)
    """eta_a: step of the dual ascent on the multiplier, per update; at 1e-3 it chases the actor round the bound."""
    critic: Literal["distilled", "td"] = "distilled"
    """Whence the noise critic: distilled from an action critic (as in the paper), or trained itself by TD."""
    prior_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of a batch that comes from demonstrations, human chunks and the warm-up (old runs, after `train-offline`).

    0: all chunks are drawn alike. Symmetric sampling, as in RLPD, is 0.5.
    """
    demonstrations: str | None = None
    """Path of an .npz that `robot-rl demos` wrote, from where the run is started; None: prior data without them."""
    warmup_episodes: int = Field(default=10, ge=0)
    """Episodes of the base policy (w ~ N(0, I)) before the adapter acts."""
    utd: float = Field(default=5.0, gt=0)
    """Gradient updates per executed chunk."""
    gamma: float = Field(default=0.97, gt=0, le=1)
    """Discount per chunk."""
    td_steps: int = Field(default=1, ge=1)
    """n: chunks after which a TD target bootstraps (`learn.replay`).

    A label comes n times as fast from the end of an episode to its beginning, and less is left to what a young critic
    imagines; in return the target is the value of what was done in these chunks, by whomever, not of what the present
    actor would do: with n as long as an episode it is its return. Of the entropies that `entropy_in_target` counts,
    only that at the state where the target bootstraps is in it.
    """
    learning_rate: float = Field(default=3e-4, gt=0)
    actor_learning_rate: float = Field(default=3e-4, gt=0)
    tau: float = Field(default=0.01, gt=0, le=1)
    hidden: int = Field(default=256, ge=1)
    layers: int = Field(default=3, ge=1)
    critics: int = Field(default=2, ge=1)
    critic_reduce: Literal["min", "mean"] = "min"
    layer_norm: bool = True
    batch: int = Field(default=256, ge=1)
    distill_steps: int = Field(default=1, ge=1)
    """N_D: distillation steps of the noise-aliased (or combined) critic per update."""
    pool: int = Field(default=16, ge=0)
    """K (noise, chunk) pairs stored per state for distillation; 0 decodes afresh."""
    bootstrap: Literal["decode", "distilled"] = "decode"
    """Where the TD target's value of the next state comes from: a fresh decode, or the distilled critic."""
    actor_average: float = Field(default=1.0, gt=0, le=1)
    """Rate per update at which the published actor follows the learnt one (Polyak averaging); 1: as it is."""
    actor_delay: int = Field(default=1, ge=1)
    """Updates of the critics per update of the actor and of what it is weighed with (temperature, multiplier)."""
    initial_temperature: float = Field(default=0.1, gt=0)
    target_entropy: float = 0.0
    """Of the squashed action in [-1, 1]^S, before the scaling by b_W."""
    entropy_in_target: bool = False
    exploration_correlation: float = Field(default=0.0, ge=0, lt=1)
    """rho: of the draws with which the actor explores in one chunk and the next of an episode, AR(1) of variance 1.

    0: each chunk has its own, as in the papers; over an episode such draws cancel, and one label at its end cannot tell
    them apart. Near 1 an episode tries one thing from its beginning to its end (a gate of the residual is drawn for
    each chunk all the same). This is DDPG's noise of Ornstein and Uhlenbeck, in an actor's own standard deviation as
    Eberhard et al. 2023 have theirs (pink noise, which they find the better of the two). Losses and evaluation are as
    without; with `td_steps` above 1 a target is the value of chunks whose draws go together.
    """
    clip_targets: bool = True
    """TD targets clipped to [0, 1], the range of a 0/1 return."""
    timeouts_terminal: bool = True
    """With 0/1 reward a time-out has value 0: it ends the episode."""

    @field_validator("residual_scale", mode="before")
    @classmethod
    def _one_for_each_entry(cls, scale: Any) -> Any:
        if isinstance(scale, int | float) or (isinstance(scale, str) and scale != "full"):
            raise ValueError(
                f"expected a number for each entry of the action, as [0.001, 0.001, ...], or full; got {scale}"
            )
        return scale


class ComputeConfig(Section):
    """How the learner computes on its machine."""

    matmul: Literal["auto", "default", "onednn"] = "auto"
    """torch's path for float32 matrix products; auto: the faster one that is exact on this CPU (`learn.matmul`).

    A run stays with what it took. Where the two are about as fast, auto may choose differently for another run: name
    one, for runs that are to be the same in every bit.
    """
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the products in hidden layers; bf16: faster, and less exact (`learn.matmul`)."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the networks, the replay and the decoder are; a run may go on with another (`learn.device`)."""


MAX_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class ProtocolConfig(Section):
    """How this task is measured; fixed before a run and never bent."""

    episodes: int = Field(ge=1)
    seeds: tuple[Seed, ...]
    """Training seeds of the table."""
    tuning_seeds: tuple[Seed, ...]
    """Seeds on which settings were chosen; disjoint from `seeds`."""
    trials: int = Field(ge=1)
    """Evaluation trials per seed."""
    baseline_trials: int = Field(default=100, ge=1)
    """Trials of the frozen policy before a run, on starts kept for choosing: the page's dashed line."""

    @field_validator("seeds", "tuning_seeds")
    @classmethod
    def _once_each(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            raise ValueError(f"expected each seed once, {twice} come again: a repeated run is no second sample")
        return seeds

    @model_validator(mode="after")
    def _chosen_elsewhere(self) -> ProtocolConfig:
        if both := sorted(set(self.seeds) & set(self.tuning_seeds)):
            raise ValueError(
                f"seeds and tuning_seeds share {both}: settings are judged on seeds they were not chosen on"
            )
        return self


class TaskConfig(Section):
    """A task file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Also of the folders of its runs."""
    title: str
    twin: str
    """The twin, as "module:factory"."""
    demonstrator: str
    """Who records demonstrations in the twin, as "module:function"."""
    oracle: str | None = None
    """Who knows the answer in the twin, as "module:class" (`authority.guide`); None: no authority report."""
    scene: dict[str, Any]
    """The twin's own section."""
    max_steps: int = Field(ge=1)
    """Control steps after which an episode is truncated."""
    home: tuple[float, float, float]
    """m, base frame: TCP position where episodes begin and where the arm retreats to."""
    limits: LimitsConfig
    guard: GuardConfig = GuardConfig()
    policy: PolicyConfig
    methods: dict[str, MethodConfig]
    compute: ComputeConfig = ComputeConfig()
    protocol: ProtocolConfig

    @model_validator(mode="after")
    def _home_is_reachable(self) -> TaskConfig:
        low, high = self.limits.workspace_low, self.limits.workspace_high
        if not all(a <= h <= b for a, h, b in zip(low, self.home, high, strict=True)):
            raise ValueError(f"home {self.home} m lies outside the workspace {low} to {high} m")
        return self

    @property
    def hash(self) -> str:
        """Names this task's contents in runs and benchmark cells."""
        return canonical_hash(self.model_dump(mode="json"))

    def method(self, name: str) -> MethodConfig:
        """The settings of method `name`; raises `ConfigError` with the nearest valid name."""
        if name not in self.methods:
            raise ConfigError(f"task {self.name!r} has no method {name!r}{nearest(name, self.methods)}")
        return self.methods[name]


def explain(model: type[BaseModel], error: ValidationError) -> list[str]:
    """One line a fault: where, what was expected, what came, and the nearest key for an unknown one."""
    lines = []
    for fault in error.errors():
        place = [str(part) for part in fault["loc"]]
        if fault["type"] == "extra_forbidden":
            known = _fields_at(model, place[:-1])
            lines.append(f"{'.'.join(place)}: unknown key{nearest(place[-1], known)}")
        else:
            lines.append(": ".join([*([".".join(place)] if place else []), fault["msg"] + _got(fault)]))
    return lines


def _got(fault: Any) -> str:
    """What came, in brackets; nothing of a whole section, whose fault's own words say what is wrong."""
    if fault["type"] in ("missing", "value_error") and isinstance(fault["input"], dict):
        return ""
    if isinstance(fault["input"], dict):
        return " (got a mapping)"
    try:
        said = repr(fault["input"])
    except ValueError:  # Python does not write an int of more than 4300 digits
        return " (got a number of thousands of digits)"
    return f" (got {said if len(said) <= 200 else said[:200] + '...'})"


def _fields_at(model: type[BaseModel], place: list[str]) -> list[str]:
    """The keys that are known at `place` below `model`."""
    for part in place:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        arguments = getattr(annotation, "__args__", ())
        inner = next((a for a in (annotation, *arguments) if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if inner is not None:
            model = inner
    return list(model.model_fields)
