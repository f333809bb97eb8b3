"""Conformance suites: what every robot, camera, frozen policy and adapter must do, as tests to inherit.

    from robot_rl.testing.policy import FrozenPolicyConformance

    class TestMyPolicy(FrozenPolicyConformance):
        @pytest.fixture
        def policy(self): return MyPolicy(...)

A suite holds what the protocol promises and nothing of how it is kept. pytest collects only the subclasses: a suite's
own name does not begin with `Test`.
"""
