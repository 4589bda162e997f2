"""A retry budget at literal times: what is given back, forgotten and kept."""

from resilience.core.budget import Budget, RetryBudget

SHARE = RetryBudget(ratio=0.5, per_second=0.0, window=10.0)


def allowed(budget, now):
    count = 0
    while budget.withdraw(now):
        count += 1
    return count


def after_calls(times, config=SHARE):
    budget = Budget(config, 0.0)
    for now in times:
        budget.deposit(now)
    return budget


def test_a_share_of_the_calls_is_allowed_and_what_each_second_allows_besides():
    assert 2 == allowed(after_calls([0.0] * 5), 0.0)
    assert 22 == allowed(after_calls([0.0] * 5, RetryBudget(ratio=0.5, per_second=2.0, window=10.0)), 0.0)


def test_a_withdrawal_that_is_refunded_may_be_made_again_once():
    budget = after_calls([0.0] * 6)
    assert 3 == allowed(budget, 0.0)
    budget.refund()

    assert 1 == allowed(budget, 0.0)


def test_the_configuration_in_force_is_told():
    budget, other = Budget(SHARE, 0.0), RetryBudget()
    assert budget.config is SHARE
    budget.configure(other, 0.0)
    assert budget.config is other


def test_the_edge_is_the_end_of_the_running_slice():
    budget = Budget(SHARE, 0.0)
    assert 1.0 == budget.edge
    budget.deposit(1.0)
    assert 2.0 == budget.edge
    budget.configure(RetryBudget(window=20.0), 3.5)
    assert budget.edge == budget._window.edge > 3.5


def test_calls_that_were_tallied_before_a_change_keep_their_time():
    budget = after_calls([0.0] * 10)
    budget.configure(RetryBudget(ratio=1.0, per_second=0.0, window=10.0), 5.0)

    assert 10 == allowed(budget, 9.5)
    budget = after_calls([0.0] * 10)
    budget.configure(RetryBudget(ratio=1.0, per_second=0.0, window=10.0), 5.0)
    assert 0 == allowed(budget, 11.0)


def test_what_is_cleared_allows_nothing_whether_or_not_it_was_only_tallied_yet():
    tallied, counted = after_calls([0.0] * 10), after_calls([0.0] * 10)
    assert 5 == allowed(counted, 0.0)
    for budget in (tallied, counted):
        budget.clear(0.5)
        assert 0 == allowed(budget, 0.5)
        budget.deposit(0.5)
        budget.deposit(0.5)
        assert 1 == allowed(budget, 0.5)


def test_a_child_that_was_forked_in_the_midst_of_a_change_is_not_kept_waiting():
    budget = Budget(RetryBudget(), 0.0)

    def forked():
        budget.renew(0.0)
        return budget.withdraw(0.0)

    assert budget._guard.ask(forked) is True
