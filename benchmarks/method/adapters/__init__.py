"""Other ways to fine-tune a domain while the backbone stays frozen: each is an ``Adapter`` of
``trainer.kernels.kernel``.

``trainer.training.finetune.train_kernels`` and ``trainer.kernels.scoring.score_rows`` take
them as they take kernels. All start exactly at zero-shot; none but ``tower_input`` has a KL term.
As in the kernel, a trained matrix W enters as W / sqrt(fan_in), so that one learning rate means
about the same for all.
"""
