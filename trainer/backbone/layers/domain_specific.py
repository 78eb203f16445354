"""Holds the layers of the multi-domain bodies. A row's domain is an int32 index from 0 on, and no
row is computed for a domain but its own.
"""

from typing import Any

import keras
from keras import ops

from configs.tensorflow_import import tf
from trainer.distribution.batch_share import batch_share

_FEWEST_ROWS = 2.0  # one row has no variance


@keras.saving.register_keras_serializable(package="recommender")
class PartitionedNormalization(keras.layers.Layer):
    """Normalises each domain's rows by that domain's own moments (STAR; Sheng et al. 2021,
    "Partitioned Normalization").

    For rows of domain p:  gamma gamma_p (x - mean_p) / sqrt(variance_p + epsilon) + beta + beta_p.
    In training the moments are those of the batch's rows of domain p, elsewhere (and where the
    layer is not trainable) the moving ones.

    Our choice: a domain with a single row in the batch is normalised by its moving moments, and
    moves them as little as one without rows; the n-th update of a domain moves them by max(1 -
    momentum, 1 / n), so that rare domains do not keep their start, mean 0 and variance 1, for long;
    the moving variance is of the unbiased batch variances. A domain never seen in training keeps
    mean 0, variance 1.

    Args:
      domains: P, how many domains there are.
      gamma: what gamma, which all domains share, starts from; gamma_p starts from 1, beta and
        beta_p from 0.
      momentum: of the moving moments.
      epsilon: added to variances.

    Inputs: x B x D, domain int32 B. Output: B x D.
    """

    def __init__(
        self,
        domains: int,
        gamma: float = 1.0,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.domains, self.initial_gamma, self.momentum, self.epsilon = (
            domains,
            gamma,
            momentum,
            epsilon,
        )

    def build(self, x_shape: Any, domain_shape: Any) -> None:
        """Creates scales, shifts and moving moments."""
        shared, own = (x_shape[-1],), (self.domains, x_shape[-1])
        self.gamma = self.add_weight(
            shape=shared, initializer=keras.initializers.Constant(self.initial_gamma), name="gamma"
        )
        self.beta = self.add_weight(shape=shared, initializer="zeros", name="beta")
        self.domain_gamma = self.add_weight(shape=own, initializer="ones", name="domain_gamma")
        self.domain_beta = self.add_weight(shape=own, initializer="zeros", name="domain_beta")
        self.moving_mean = self.add_weight(
            shape=own, initializer="zeros", trainable=False, name="moving_mean"
        )
        self.moving_variance = self.add_weight(
            shape=own, initializer="ones", trainable=False, name="moving_variance"
        )
        self.updates = self.add_weight(
            shape=(self.domains, 1), initializer="zeros", trainable=False, name="updates"
        )
        self.built = True

    def call(self, x: Any, domain: Any, training: bool = False) -> Any:
        """See the class."""
        learning = training and self.trainable
        mean, variance = (
            self._learn_moments(x, domain)
            if learning
            else (self.moving_mean.value, self.moving_variance.value)
        )
        scale = self.gamma * self.domain_gamma * tf.math.rsqrt(variance + self.epsilon)
        shift = tf.convert_to_tensor(self.beta + self.domain_beta)
        return (x - tf.gather(mean, domain)) * tf.gather(scale, domain) + tf.gather(shift, domain)

    def _learn_moments(self, x: Any, domain: Any) -> tuple[Any, Any]:
        """The moments to normalise a batch by, each P x D, after they moved the moving ones; of the
        whole batch where several workers share it.
        """
        share = batch_share()
        rows, sums = share.total(
            tf.math.unsorted_segment_sum(tf.ones_like(x[:, :1]), domain, self.domains),
            tf.math.unsorted_segment_sum(x, domain, self.domains),
        )
        mean = tf.math.divide_no_nan(sums, rows)
        (squares,) = share.total(
            tf.math.unsorted_segment_sum(
                tf.square(x - tf.gather(mean, domain)), domain, self.domains
            )
        )
        enough = rows >= _FEWEST_ROWS
        mean = tf.where(enough, mean, self.moving_mean.value)
        variance = tf.where(
            enough, tf.math.divide_no_nan(squares, rows), self.moving_variance.value
        )
        unbiased = tf.where(
            enough, squares / tf.maximum(rows - 1.0, 1.0), self.moving_variance.value
        )
        self.updates.assign_add(tf.cast(enough, tf.float32))
        rate = tf.maximum(1.0 - self.momentum, 1.0 / tf.maximum(self.updates.value, 1.0))
        self.moving_mean.assign_add(rate * (mean - self.moving_mean))
        self.moving_variance.assign_add(rate * (unbiased - self.moving_variance))
        return mean, variance

    def compute_output_shape(self, x_shape: Any, domain_shape: Any) -> Any:
        """B x D."""
        return x_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        settings = {
            "domains": self.domains,
            "gamma": self.initial_gamma,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }
        return {**super().get_config(), **settings}


@keras.saving.register_keras_serializable(package="recommender")
class StarNetwork(keras.layers.Layer):
    """Dense layers of a star topology: shared weights times a domain's own (STAR; Sheng et al.
    2021, "Star Topology FCN").

    Every layer of domain p computes  activation(x (W * W_p) + b + b_p),  * by element. W starts
    Glorot-uniform, W_p from 1, both biases from 0: all domains start as one network.

    Rows are grouped by domain, so a row meets its own domain's weights only. The products W * W_p
    do not grow with the rows.

    Args:
      domains: P, how many domains there are.
      widths: of the layers.
      activation: after every layer, by Keras's name; None for none.
      seed: of the initial values.

    Inputs: x B x D, domain int32 B. Output: B x widths[-1].
    """

    def __init__(
        self,
        domains: int,
        widths: tuple[int, ...],
        activation: str | None,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.domains, self.widths, self.activation, self.seed = (
            domains,
            tuple(widths),
            activation,
            seed,
        )

    def build(self, x_shape: Any, domain_shape: Any) -> None:
        """Creates the shared network and every domain's own."""
        self._layers_in_order = []
        fan_in = x_shape[-1]
        for depth, width in enumerate(self.widths):
            glorot = keras.initializers.GlorotUniform(self.seed + depth)
            kernel = self.add_weight(
                shape=(fan_in, width), initializer=glorot, name=f"kernel_{depth}"
            )
            bias = self.add_weight(shape=(width,), initializer="zeros", name=f"bias_{depth}")
            own_kernel = self.add_weight(
                shape=(self.domains, fan_in, width),
                initializer="ones",
                name=f"domain_kernel_{depth}",
            )
            own_bias = self.add_weight(
                shape=(self.domains, width), initializer="zeros", name=f"domain_bias_{depth}"
            )
            self._layers_in_order.append((kernel, bias, own_kernel, own_bias))
            fan_in = width
        self.built = True

    def call(self, x: Any, domain: Any) -> Any:
        """See the class."""
        activation = keras.activations.get(self.activation)
        groups = tf.dynamic_partition(x, domain, self.domains)
        for kernel, bias, own_kernel, own_bias in self._layers_in_order:
            kernels, biases = tf.unstack(kernel * own_kernel), tf.unstack(bias + own_bias)
            groups = [
                activation(tf.matmul(rows, w) + b)
                for rows, w, b in zip(groups, kernels, biases, strict=True)
            ]
        return tf.dynamic_stitch(
            tf.dynamic_partition(tf.range(tf.shape(x)[0]), domain, self.domains), groups
        )

    def compute_output_shape(self, x_shape: Any, domain_shape: Any) -> Any:
        """B x widths[-1]."""
        return (x_shape[0], self.widths[-1])

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        settings = {
            "domains": self.domains,
            "widths": self.widths,
            "activation": self.activation,
            "seed": self.seed,
        }
        return {**super().get_config(), **settings}


@keras.saving.register_keras_serializable(package="recommender")
class HyperAdapter(keras.layers.Layer):
    """A bottleneck whose weights are generated for every row (HAMUR; Li et al. 2023, adapter cell
    and hyper-network).

    With the row's core I, which a hyper-network gives:  sigmoid(x U_1 I V_1 + b_1) U_2 I V_2 + b_2.
    The generated matrices U I V are never formed: a row costs rank * (rank + width) more than two
    thin layers. U and V start Glorot-uniform (our choice; the authors' code starts them from 1,
    which gives every generated matrix equal columns), b from 0.

    Args:
      width: of the bottleneck.
      seed: of the initial values.

    Inputs: x B x D, core B x rank x rank. Output: B x D.
    """

    def __init__(self, width: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.seed = width, seed

    def build(self, x_shape: Any, core_shape: Any) -> None:
        """Creates what the rows share: U, V and b of both layers."""
        rank, self._layers_in_order = core_shape[-1], []
        for depth, (fan_in, fan_out) in enumerate(
            ((x_shape[-1], self.width), (self.width, x_shape[-1]))
        ):
            left, right = (
                keras.initializers.GlorotUniform(self.seed + 2 * depth + side) for side in (0, 1)
            )
            u = self.add_weight(shape=(fan_in, rank), initializer=left, name=f"u_{depth}")
            v = self.add_weight(shape=(rank, fan_out), initializer=right, name=f"v_{depth}")
            self._layers_in_order.append(
                (u, v, self.add_weight(shape=(fan_out,), initializer="zeros", name=f"bias_{depth}"))
            )
        self.built = True

    def call(self, x: Any, core: Any) -> Any:
        """See the class."""

        def generated(rows: Any, u: Any, v: Any, bias: Any) -> Any:
            mixed = ops.matmul(ops.expand_dims(ops.matmul(rows, u), 1), core)
            return ops.matmul(ops.squeeze(mixed, 1), v) + bias

        down, up = self._layers_in_order
        return generated(ops.sigmoid(generated(x, *down)), *up)

    def compute_output_shape(self, x_shape: Any, core_shape: Any) -> Any:
        """B x D."""
        return x_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "width": self.width, "seed": self.seed}
