"""The settings of training: the same for every mix."""

from dataclasses import dataclass, field
from typing import Literal

from rankers.data.lists import AnnotationLabel
from rankers.losses.click_objectives import ClickObjectiveName
from rankers.losses.hybrid import LossName, QueryWeight
from rankers.models.list_ranker import Precision
from rankers.training.trackers import TrackerName


@dataclass
class TrainingSettings:
    """How a ranker is trained; the same for every mix.

    Attributes:
        backbone: what training starts from: a Hugging Face id, a folder, or "small-bert" for a
            small BERT built from the collection's own text.
        heads: one head that both signals train (shared), or a head for clicks and one for relevance
            (two), whose scores are mixed when ranking by the click weight at the end of training.
        lora_rank: train adapters of this rank beside the backbone's frozen weights (LoRA; Hu et
            al., ICLR 2022), for backbones that are too large to train whole; 0 trains all weights.
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
        epochs: passes over the training queries.
        patience: stop after so many epochs without a better validation nDCG@10; 0 for never.
        lists_per_step: lists, over all workers, that one optimizer step sees.
        accumulation: parts in which a worker takes its lists of a step, adding up their gradients:
            more parts need less memory.
        tokens_per_pass: the most tokens, with padding, that the model reads at once; pairs of about
            one length are read together.
        learning_rate: highest learning rate of AdamW; it falls linearly to zero.
        warm_up: the share of training in which the learning rate rises to its highest.
        layer_decay: by what the learning rate shrinks from each layer to the one below it, in
            (0, 1]; the scoring head has the highest.
        weight_decay: of AdamW.
        gradient_clip: longest norm of the gradient.
        precision: of the encoder: fp32, bf16, or auto: bf16 where the processor computes in it.
            Weights and scores are float32.
        compile: compile the model by torch.compile, which pays in long runs.
        max_length: tokens of a query-document pair; longer pairs are cut.
        seed: of weights, dropout and order.
        checkpoint_every: steps between checkpoints within an epoch; 0 for one at its end alone.
        keep_checkpoints: how many to keep, the best by validation nDCG@10; the last one beside.
        trackers: what else to tell the progress of training, beside TensorBoard: mlflow, wandb.
            Where to and with which key they read from their own environment variables.
        restarts: how often to go on from the last checkpoint by itself after a worker or a node is
            lost.
        workers: processes that train in DDP.
        cpus_per_worker: CPUs that Ray sets aside for a worker; fractions leave room on small
            machines.
        use_gpu: whether each worker takes a GPU.
    """

    backbone: str = "small-bert"
    heads: Literal["shared", "two"] = "shared"
    lora_rank: int = 0
    loss: LossName = "softmax"
    click_objective: Literal["labels"] | ClickObjectiveName = "labels"
    max_weight: float = 20.0
    query_weight: QueryWeight = "query"
    balance_losses: bool = False
    annotation_label: AnnotationLabel = "expected_grade"
    epochs: int = 8
    patience: int = 0
    lists_per_step: int = 8
    accumulation: int = 1
    tokens_per_pass: int = 2048
    learning_rate: float = 1e-3
    warm_up: float = 0.1
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    precision: Precision = "fp32"
    compile: bool = False
    max_length: int = 128
    seed: int = 0
    checkpoint_every: int = 200
    keep_checkpoints: int = 1
    trackers: list[TrackerName] = field(default_factory=list)
    restarts: int = 3
    workers: int = 2
    cpus_per_worker: float = 0.5
    use_gpu: bool = False
