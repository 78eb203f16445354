"""Defines the settings of the models and of their training."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from configs.errors import did_you_mean
from configs.plugins import BODIES, installed, not_installed
from configs.section import Count, CountOrNone, Depth, Rate, SafeName, Section, Weight, Width

Option = (
    bool
    | Annotated[int, Field(ge=-(2**31), lt=2**31)]
    | Annotated[float, Field(ge=-1e9, le=1e9)]
    | Annotated[str, Field(max_length=1_000)]
)
BUILT_IN_BODIES = ("shared_bottom", "esmm", "mmoe", "ple", "star", "pepnet", "hamur")


class Debias(Section):
    """A tower on position whose logits are added in training to those of the tasks that wait on no
    other. At serving it is left out, and an intercept stands for what it was on average
    (``trainer.training.intercepts``).
    """

    feature: str = Field(
        description="categorical feature that only training knows, such as the position"
    )
    layers: tuple[Width, ...] = Field((16,), description="widths of the tower's hidden layers")


class Backbone(Section):
    """Embeddings, a body, and a tower for each task."""

    body: str = Field(
        "mmoe",
        description=(
            "what stands between embeddings and towers: shared_bottom, esmm, mmoe, ple; star,"
            " pepnet and hamur, which read the row's domain and are trained from scratch; or the"
            " name of an installed package's (configs.plugins)"
        ),
    )
    options: dict[SafeName, Option] = Field(
        default_factory=dict, description="settings of an installed package's body"
    )
    topics: tuple[SafeName, ...] = Field(
        (),
        description=(
            "whose values are the domains of star, hamur (one topic) and pepnet (any number)"
        ),
    )
    crosses: Depth = Field(0, description="DCN-v2 cross layers between embeddings and body")
    embedding_dimension: Width = Field(
        16, description="numbers of an id's vector, where its feature does not say"
    )
    experts: Width = Field(4, description="of mmoe; of ple, those of each task in each level")
    shared_experts: Width = Field(
        2, description="of ple: those that all tasks share, in each level"
    )
    levels: Width = Field(2, description="of ple")
    expert_layers: tuple[Width, ...] = Field(
        (128, 64), min_length=1, description="widths of an expert's layers"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description=(
            "of the experts in training: bfloat16 is faster on processors that have it; inference"
            " is float32 in either"
        ),
    )
    tower_layers: tuple[Width, ...] = Field(
        (64,), min_length=1, description="widths of the hidden layers of each task's tower"
    )
    attention_layers: tuple[Width, ...] = Field(
        (32,), description="widths of the hidden layers that weigh a list's entries"
    )
    dropout: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="share of the units of a hidden layer that are left out in training",
    )
    debias: Debias | None = None

    @field_validator("body")
    @classmethod
    def _body_exists(cls, body: str) -> str:
        if body in BUILT_IN_BODIES:
            return body  # packages are not asked: that is a look at every one
        known = [*BUILT_IN_BODIES, *installed(BODIES)]
        if body not in known:
            raise ValueError(
                f"'{body}' is no body{did_you_mean(body, known)} {not_installed(BODIES)}"
            )
        return body

    @model_validator(mode="after")
    def _options_have_a_reader(self) -> "Backbone":
        if self.options and self.body in BUILT_IN_BODIES:
            raise ValueError(f"options: body '{self.body}' has none; they are of other packages'")
        return self


class Teaching(Section):
    """How much a backbone learns from the teacher that ``--teacher`` names."""

    weight: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description=(
            "of the cross entropy with the teacher's probabilities; the labels' loss has the rest"
        ),
    )


class Pretrain(Section):
    """How the backbone is trained."""

    split: str = Field("pretrain", description="the split that the backbone learns from")
    validation: str = Field("validation", description="the split by which training is stopped")
    epochs: Count = Field(
        20,
        description=(
            "at most: 'patience' ends training before, and the weights that validation liked best"
            " are kept"
        ),
    )
    batch_size: Count = Field(4096, description="rows of a step; of all workers together")
    learning_rate: Rate = Field(0.001, description="Adam, for everything but embeddings")
    embedding_learning_rate: Rate = Field(0.02, description="row-wise Adagrad, for embeddings")
    embedding_accumulator: Rate = Field(
        0.01,
        description=(
            "where the accumulators of row-wise Adagrad start: the larger, the smaller the first"
            " steps of a row"
        ),
    )
    validations_per_epoch: Count = Field(1, description="how often validation looks in an epoch")
    patience: Count = Field(
        2, description="validations without improvement after which training stops"
    )
    monitor: Literal["auc", "loss"] = Field(
        "auc",
        description="validation figure: mean AUC of the tasks over all rows, or the summed loss",
    )
    checkpoint_steps: Count = Field(
        200, description="steps between checkpoints that an interrupted run resumes from"
    )
    progressive: bool = Field(
        False,
        description=(
            "after 'split', go on through finetune.split in order of time, scoring each part before"
            " learning it; kernels then train on these out-of-sample taps"
        ),
    )
    progressive_parts: Count = Field(
        8, description="parts of that pass, of about as many rows each"
    )
    teacher: Teaching | None = Field(
        None,
        description=(
            "learn from another job's backbone and kernels, too (pretrain --teacher); null: not,"
            " and with --teacher as the defaults say"
        ),
    )


class Kernel(Section):
    """The information-aware adaptive kernel of one domain."""

    tap: str = Field(
        "representation+input",
        pattern=r"^(tower|representation|input|logits)(\+(tower|representation|input|logits))*$",
        description=(
            "the head that is read: each task's representation, its tower's last hidden layer, the"
            " body's input, the logits; several joined by '+'"
        ),
    )
    width: Width = Field(50, description="d_e, the bottleneck of the encoder")
    decoder_layers: tuple[Width, ...] = Field(
        (), description="widths of the decoder's hidden layers"
    )
    activation: Literal["relu", "gelu", "tanh"] = Field(
        "relu", description="after every layer but the last"
    )
    residual: bool = Field(True, description="add to the backbone's logit; otherwise replace it")
    gate: Literal["none", "support"] = Field(
        "none",
        description=(
            "'support': trust the delta as far as the user's rows in the fine-tuning window support"
            " it (trainer/kernels/gate.py)"
        ),
    )


class Routing(Section):
    """How rows are answered that name no domain (``auto``)."""

    compose: float | None = Field(
        None,
        gt=0.0,
        le=1.0,
        description=(
            "where a row has active kernels of several single-topic domains: share of what each"
            " changes in the logits of the kernel of all traffic; these shares are added up"
            " (trainer.kernels.routing.composed_ranks). Where null, the kernel of the most specific"
            " domain answers alone"
        ),
    )


DRIFT = 0.0014
"""AUC. Measured on a news portal's log, whose content is another every day, on days that test
nothing (``benchmarks.reliability --section drift``); taken for other logs, too (our choice).
"""


MINIMUM_POSITIVES = 20
"""Below it little is known: an AUC of 0.7 on 20 positives has a standard error of 0.05 to 0.07
(Hanley and McNeil 1982), more than most kernels gain.
"""


class Activation(Section):
    """How it is decided, on judging rows, whether a kernel is better than what would answer."""

    correction: Literal["holm", "benjamini_hochberg", "none"] = Field(
        "benjamini_hochberg",
        description=(
            "of the p-values for the number of domains: 'holm' bounds the chance that a run"
            " activates any kernel that is no better, 'benjamini_hochberg' the expected share of"
            " such kernels among those it activates, 'none' each domain's own chance"
        ),
    )
    level: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="that bound; 0.1 for 'benjamini_hochberg' and 0.05 otherwise, where null",
    )
    metric: Literal["auc", "gauc"] = Field("auc", description="whose difference is tested")
    drift: Weight = Field(
        DRIFT,
        description=(
            "standard deviation, in units of the metric, of how much a kernel is better than what"
            " it is compared with from one day to another; it is part of the error of every test,"
            " less where the validation split has more days"
        ),
    )
    minimum_positives: CountOrNone = Field(
        MINIMUM_POSITIVES,
        description="a task with fewer positives among a domain's judging rows is not tested",
    )

    @property
    def bound(self) -> float:
        """The level, that of the correction where none is given."""
        if self.level is not None:
            return self.level
        return 0.1 if self.correction == "benjamini_hochberg" else 0.05


class Finetune(Section):
    """How kernels are trained."""

    split: str = Field("finetune", description="the split that kernels learn from")
    validation: str = Field(
        "validation",
        description="the split that stops kernels and judges them, half of the users each",
    )
    regulariser: Literal["moments", "variational", "coding_rate", "none"] = Field(
        "moments",
        description=(
            "KL(w || w0) in one of two readings; or the information between tap and code itself; or"
            " nothing"
        ),
    )
    beta: Weight = Field(1.0, description="weight of KL(w || w0) / rows, nats a row")
    prior: Literal["standard", "parent"] = Field(
        "standard",
        description=(
            "w0 of the KL: N(0, I), or the kernel that a domain starts from; the kernel of all"
            " traffic has no parent"
        ),
    )
    prior_sigma: Rate = Field(0.1, description="standard deviation of the parent prior")
    code_beta: Weight = Field(
        0.001,
        description="weight of the coding rate, nats a row; 1 is an upper bound of the information",
    )
    code_noise: Rate = Field(
        0.5,
        description=(
            "standard deviation of the noise against which the code's information is measured"
        ),
    )
    mixing: Literal["none", "fixed", "learned"] = Field(
        "none",
        description=(
            "rows of other domains in a domain's training: any rows, or those whose gradients agree"
            " (trainer/training/domain_mixing)"
        ),
    )
    mixing_share: float = Field(
        0.3,
        gt=0.0,
        lt=1.0,
        description="share of the outside rows in the weight; of 'learned' the most it can be",
    )
    epochs: Count = Field(3, description="of the kernel of all traffic")
    child_epochs: Count | None = Field(
        1, description="of kernels that start from another domain's; 'epochs' where null"
    )
    batch_size: Count = Field(
        4096,
        description=(
            "rows of the largest of the domains that train together in a step; of the others as"
            " many in proportion"
        ),
    )
    learning_rate: Rate = Field(
        0.1, description="Adam; weights start from N(0, 1), so steps are larger than usual"
    )
    child_learning_rate: Rate | None = Field(
        0.03, description="of kernels that start from another domain's; 'learning_rate' where null"
    )
    rates: Literal["one_cycle", "constant"] = Field(
        "one_cycle",
        description=(
            "'one_cycle': up to the learning rate in the first tenth of the epochs, then down to"
            " nothing along a cosine"
        ),
    )
    rate_power: float = Field(
        0.0, ge=0.0, le=1.0, description="p of the batch-aware learning rate lr * (n_k / (B / K))^p"
    )
    warm_start: Literal["all", "none", "parent"] = Field(
        "all",
        description=(
            "start every domain from the kernel of all traffic, or from w0 ~ N(0, I); 'parent': a"
            " cross-topic one from the first of its single-topic domains that has a kernel"
        ),
    )
    patience: Count = Field(
        3,
        description=(
            "epochs without improvement on validation before a domain's kernel stops; of rates that"
            " are 'constant'"
        ),
    )
    initial_sigma: Rate = Field(
        0.1, description="starting standard deviation of the variational reading"
    )
    activation: Activation = Activation()

    @property
    def of_children(self) -> "Finetune":
        """The same for kernels that start from another domain's."""
        own = {"epochs": self.child_epochs, "learning_rate": self.child_learning_rate}
        return self.model_copy(update={name: value for name, value in own.items() if value})
