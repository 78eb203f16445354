"""What a student learns from its teacher's answers: the cross entropy between the two, beside that
of the labels.
"""

from configs import Experiment
from configs.tensorflow_import import tf
from trainer.losses import learned_scores, predicted, row_loss, weighted_mean

TEACHER_LOGITS = "teacher/logits"
"""Column of the teacher's logits as it serves them, float32 ``[N, T]`` of its towers."""


def distilled(
    experiment: Experiment, loss: tf.Tensor, logits: tf.Tensor, columns: dict[str, tf.Tensor]
) -> tf.Tensor:
    """The loss of labels and teacher together: ``(1 - weight) loss + weight sum_k w_k CE(q_k,
    p_k)`` with the probabilities q of the teacher and p of the student (Hinton, Vinyals and Dean
    2015, section 2). Of an amount it is the loss with the teacher's amount as the label.

    The second term is over every row of the batch, whatever a task's sample space: a teacher
    answers for rows that have no label, too. The tasks count by their loss weights. There is no
    temperature (our choice): with two classes a probability is already soft, and the labels beside
    it are for temperature 1.

    Args:
      experiment: tasks, and the weight (``pretrain.teacher``).
      loss: of the labels, a scalar.
      logits: of the student as it serves them, without what only training knows, ``[N, T]``.
      columns: record columns ``[N]`` with ``TEACHER_LOGITS``.
    """
    settings = experiment.pretrain.teacher
    if settings is None:
        return loss
    tasks = experiment.tasks
    learned, taught = learned_scores(tasks, logits), learned_scores(tasks, columns[TEACHER_LOGITS])
    soft = tf.constant(0.0)
    for name, target in tasks.targets.items():
        if target.loss_weight:
            losses = row_loss(target, predicted(target, taught[name]), learned[name])
            soft += target.loss_weight * weighted_mean(losses, columns["row/weight"])
    return (1.0 - settings.weight) * loss + settings.weight * soft
