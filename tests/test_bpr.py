"""BPR draws what a user does not have, and weighs its loss."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix

from recommender.adversarial import worst
from recommender.bpr import _Factors

# u0 has i0 and i1 (light), u1 has i2; nobody has i3
LOG = csr_matrix(np.array([[1, 0.1, 0, 0], [0, 0, 1, 0]], np.float32))


def factors() -> _Factors:
    return _Factors(LOG, 3, torch.Generator().manual_seed(0))


def test_an_item_of_the_user_is_known_and_an_item_without_history_never_drawn() -> None:
    users = torch.tensor([0, 1])
    items, known = factors().draw(users, 500)
    assert set(items.flatten().tolist()) == {0, 1, 2}
    for user in (0, 1):
        assert (known[user].numpy() == (LOG.toarray()[user, items[user]] > 0)).all()


def test_a_lightly_known_item_is_drawn_as_rarely_as_it_is_light() -> None:
    items, _ = factors().draw(torch.zeros(20, dtype=torch.int64), 1000)
    assert abs((items == 1).float().mean().item() - 0.1 / 2.1) < 0.005


def test_the_loss_is_the_weighted_mean_of_the_formula() -> None:
    model = factors()
    with torch.no_grad():
        model.biases += torch.arange(4.0)[:, None]
    users, items, others = torch.tensor([0, 1]), torch.tensor([0, 2]), torch.tensor([[2], [1]])
    p, q, b = (part.detach().numpy().astype(float) for part in (model.users, model.items, model.biases[:, 0]))
    losses = []
    for user, item, other in ((0, 0, 2), (1, 2, 1)):
        margin = p[user] @ (q[item] - q[other]) + b[item] - b[other]
        norms = sum((row**2).sum() for row in (p[user], q[item], q[other], b[item], b[other]))
        losses.append(np.log1p(np.exp(-margin)) + 0.1 * norms)
    found = model.loss(users, items, others, torch.tensor([[1.0], [0.5]]), 0.1)
    np.testing.assert_allclose(found.item(), (losses[0] + losses[1] / 2) / 1.5, rtol=1e-5)


def test_the_adversarial_step_goes_up_the_loss_without_its_regularisation() -> None:
    model = factors()
    triples = torch.tensor([0, 1]), torch.tensor([0, 2]), torch.tensor([[2], [1]]), torch.tensor([[1.0], [0.5]])
    embeddings = model.users, model.items
    plain = model.loss(*triples, 0.0)
    steps = worst(plain, embeddings, 0.3)
    penalty = model.loss(*triples, 9.0).item() - plain.item()
    found = model.loss(*triples, 9.0, 0.3).item()
    with torch.no_grad():
        for embedding, step in zip(embeddings, steps, strict=True):
            embedding += step
    np.testing.assert_allclose(found, plain.item() + penalty + model.loss(*triples, 0.0).item(), rtol=1e-5)
