"""The settings of training, in groups; the same for every mix."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SMALL_BERT = "small-bert"
# Tokens of a pair that it takes, from and to; three of them are special.
SMALL_BERT_LENGTHS = (4, 512)

# The rows of `rankers.losses.label_losses.LABEL_LOSSES`.
LossName = Literal[
    "softmax",
    "listmle",
    "pairwise_logistic",
    "pairwise_hinge",
    "lambdarank",
    "approx_ndcg",
    "pointwise_sigmoid",
    "pointwise_mse",
]
# The rows of `rankers.losses.click_objectives.CLICK_OBJECTIVES`.
ClickObjectiveName = Literal[
    "naive",
    "ipw",
    "self_normalised_ipw",
    "dual_learning",
    "regression_em",
    "pairwise_debiasing",
    "propensity_ratio",
]
AnnotationLabel = Literal["grade", "expected_grade", "confident_grade"]
QueryWeight = Literal["query", "square_root", "session"]
Precision = Literal["fp32", "tf32", "bf16", "auto"]
TrackerName = Literal["mlflow", "wandb"]


@dataclass(frozen=True)
class ModelSettings:
    """The cross-encoder that is trained.

    Attributes:
        backbone: what training starts from: a Hugging Face id, a folder, or "small-bert" for a
            small BERT built from the collection's own text.
        heads: one head that both signals train (shared), or a head for clicks and one for relevance
            (two), whose scores are mixed when ranking by the click weight at the end of training.
        lora_rank: train adapters of this rank beside the backbone's frozen weights (LoRA; Hu et
            al., ICLR 2022), for backbones that are too large to train whole; 0 trains all weights.
        max_length: tokens of a query-document pair; longer pairs are cut.
        precision: what the encoder computes in: fp32; tf32, float32 whose products a GPU rounds to
            ten bits, and fp32 elsewhere; bf16; or auto: bf16 where the processor has units for it.
            Weights and scores are float32.
        compile: compile the model by torch.compile, which pays in long runs.
    """

    backbone: str = SMALL_BERT
    heads: Literal["shared", "two"] = "shared"
    lora_rank: int = 0
    max_length: int = 128
    precision: Precision = "fp32"
    compile: bool = False


@dataclass(frozen=True)
class ObjectiveSettings:
    """What is learned from each signal; the mix says how much.

    Attributes:
        loss: loss of each signal's labels: softmax or listmle (listwise), pairwise_logistic or
            pairwise_hinge, lambdarank or approx_ndcg (for nDCG), pointwise_sigmoid or
            pointwise_mse.
        click_objective: what to learn from clicks: the click labels (labels), or the sessions
            themselves, as they are (naive) or freed of the bias of positions while training: ipw,
            self_normalised_ipw and propensity_ratio by the propensities beside the click labels;
            dual_learning, regression_em and pairwise_debiasing by what they learn of positions.
        max_weight: the most that one click can weigh where click_objective is not labels.
        query_weight: how much a query weighs in the click loss: as every other (query), or by the
            square root (square_root) or the number (session) of its searches, by which frequent
            queries drown the others.
        balance_losses: divide the loss of each signal by its running mean, so that both pull alike
            where the click weight is one half.
        annotation_label: what to learn from annotations: the hard grade, the expected_grade
            under the annotator's probabilities, or that weighted by the annotator's confidence
            (confident_grade).
    """

    loss: LossName = "softmax"
    click_objective: Literal["labels"] | ClickObjectiveName = "labels"
    max_weight: float = 20.0
    query_weight: QueryWeight = "query"
    balance_losses: bool = False
    annotation_label: AnnotationLabel = "expected_grade"


@dataclass(frozen=True)
class OptimizationSettings:
    """How the loss is brought down: AdamW, with a learning rate that rises and falls.

    Attributes:
        epochs: how often training goes through the training queries.
        patience: stop after so many epochs without a better validation nDCG@10; 0 for never.
        learning_rate: highest learning rate of AdamW; it falls linearly to zero.
        warm_up: the share of training in which the learning rate rises to its highest.
        layer_decay: by what the learning rate shrinks from each layer to the one below it, in
            (0, 1]; the scoring head has the highest.
        weight_decay: by what AdamW shrinks weights, in multiples of the learning rate a step.
        gradient_clip: longest norm of the gradient.
        seed: of the new weights, of dropout and of the order of lists.
    """

    epochs: int = 8
    patience: int = 0
    learning_rate: float = 1e-3
    warm_up: float = 0.1
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class BatchingSettings:
    """How many lists a step sees, and how much the model reads at once.

    Attributes:
        lists_per_step: lists, over all workers, that one optimizer step sees.
        accumulation: parts in which a worker takes its lists of a step, adding up their gradients:
            more parts need less memory.
        tokens_per_micro_batch: the most tokens, with padding, that the model reads at once; pairs
            of about one length are read together. By default 2,048 on processors, where their
            activations should stay in the cache, and 16,384 on GPUs, which want more work at once.
    """

    lists_per_step: int = 8
    accumulation: int = 1
    tokens_per_micro_batch: int | None = None

    def tokens_at_once(self, on_gpu: bool) -> int:
        """The most tokens of a micro-batch: as given, or what suits the device.

        >>> BatchingSettings().tokens_at_once(on_gpu=False)
        2048
        """
        if self.tokens_per_micro_batch is not None:
            return self.tokens_per_micro_batch
        return 16_384 if on_gpu else 2048


@dataclass(frozen=True)
class CheckpointSettings:
    """How much of training a kill can cost.

    Attributes:
        every_steps: steps between checkpoints within an epoch; 0 for one at its end alone.
        keep: how many to keep, the best by validation nDCG@10; the last one beside.
    """

    every_steps: int = 200
    keep: int = 1


@dataclass(frozen=True)
class ResourceSettings:
    """What training runs on.

    Attributes:
        workers: processes that train in DDP.
        cpus_per_worker: CPUs that Ray sets aside for a worker; fractions leave room on small
            machines.
        use_gpu: whether each worker takes a GPU.
        gradient_checkpointing: keep of each layer only what it reads, and compute it again for the
            gradient: about a third slower, in a fraction of the memory.
        restarts: how often to go on from the last checkpoint by itself after a worker or a node is
            lost.
    """

    workers: int = 2
    cpus_per_worker: float = 0.5
    use_gpu: bool = False
    gradient_checkpointing: bool = False
    restarts: int = 3


@dataclass(frozen=True)
class TrainingSettings:
    """How a ranker is trained; the same for every mix.

    The first four groups decide the ranker, and `--resume` asks for them to be the same. The others
    may change: a training goes on with more workers, another tracker or more restarts. (Dropout
    draws other numbers with another number of workers.)

    Attributes:
        model: the cross-encoder that is trained.
        objective: what is learned from each signal.
        optimization: learning rate, epochs, seed.
        batching: lists a step, and tokens at once.
        checkpoints: how often, and how many are kept.
        resources: workers and what each has.
        trackers: what else to tell the progress of training, beside TensorBoard: mlflow, wandb.
            Where to and with which key they read from their own environment variables.
    """

    model: ModelSettings = ModelSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    optimization: OptimizationSettings = OptimizationSettings()
    batching: BatchingSettings = BatchingSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    resources: ResourceSettings = ResourceSettings()
    trackers: list[TrackerName] = field(default_factory=list)

    @property
    def by_name(self) -> dict[str, Any]:
        """Every setting by its full name, such as optimization.seed."""
        groups = {name: value for name, value in asdict(self).items() if name != "trackers"}
        return {
            f"{group}.{name}": value
            for group, settings in groups.items()
            for name, value in settings.items()
        }

    @property
    def deciding(self) -> dict[str, Any]:
        """The groups that decide the ranker, as JSON can hold them."""
        every = asdict(self)
        return {name: every[name] for name in ("model", "objective", "optimization", "batching")}
