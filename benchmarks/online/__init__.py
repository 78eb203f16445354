"""A simulated online A/B test: the marketplace plays live traffic, a running server's scores rank
it, and clicks and orders follow.

Everything here is our choice.

- **Traffic.** The world of the logs (same config and seed: users, shops, interests, drift), on the
  days of ``evaluation.split``, whose rows no model was trained on. The requests are new ones. What
  is remembered of users and shops (history, earlier orders, a shop's orders of the day before) is
  that of the logged world at the beginning of the day and stays so for the day, the same for every
  arm, so an arm cannot change what a later request looks like.
- **Slates.** The logs' own retrieval (popular shops more often) draws more candidates than are
  shown: 30, of which ``simulation.candidates`` are shown. A longer draw reaches further down, so
  slates hold less popular shops than the logs do. Their features are computed by the code that
  writes the logs, and sent to the server over gRPC as a client would send them.
- **Choices.** A position is looked at with its examination probability; a shop that is looked at is
  clicked, and a clicked one ordered from, with its true probabilities. An order is worth 10 units
  of money for each of the shop's price levels (1 to 4).
- **Views.** ``split_users``: users are assigned to control or treatment by a hash of their id, as
  an online test would do. ``paired``: every user under every arm with the same luck (common random
  numbers), which cancels most of the noise. ``expected``: the same rankings with the true
  probabilities in place of draws, so that only the sample of users is left to chance.
- **Intervals.** 95%, percentile bootstrap over users (whole users are drawn, since the requests of
  one user are not independent).
- **Reference lines.** A random order, and the true probabilities of what is ranked by: by
  those of a click with an order no ranking brings more orders.
- **Tasks.** What is simulated: a click, and an order after it, however the config calls them.
"""
