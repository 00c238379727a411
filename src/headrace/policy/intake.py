"""What there is to know of a request before anything is decided: its class, its work, its predicted length."""

from __future__ import annotations

from dataclasses import replace

from headrace.fleet import Fleet
from headrace.policy.choice import Chooser
from headrace.policy.event import Arrived
from headrace.policy.predict import BinnedPredictor, LengthPredictor
from headrace.policy.prefix import prompt_of
from headrace.policy.right_size import right_sizer
from headrace.policy.routing import Candidates
from headrace.policy.state import RequestState


class Intake:
    """Makes requests of arrivals.

    Attributes:
        predictor: of output lengths; told of every answer that is complete.
    """

    def __init__(self, fleet: Fleet, chooser: Chooser, predictor: LengthPredictor | None) -> None:
        """
        Args:
            predictor: None: one that learns online.
        """
        priors = {name: c.expected_output_tokens for name, c in fleet.classes.items()}
        self.predictor: LengthPredictor = predictor if predictor is not None else BinnedPredictor(priors)
        if isinstance(predictor, BinnedPredictor):
            predictor.know(priors)
        self._classes = fleet.classes
        self._chooser = chooser
        self._right_sizer = right_sizer(fleet, chooser.quotas, self.predictor)

    def request(self, now_s: float, event: Arrived, candidates: Candidates) -> RequestState:
        """The state of a request that has just come."""
        request_id, class_name, tenant, input_tokens = (
            event.request_id,
            event.workload_class,
            event.tenant,
            event.input_tokens,
        )
        expected = self.predictor.predict(request_id, class_name, tenant, input_tokens)
        if event.max_output_tokens is not None and event.max_output_tokens < expected:
            expected = float(max(event.max_output_tokens, 1))
        work = self._chooser.work(input_tokens, expected)
        workload_class = self._classes[class_name]
        if event.value_of_time_usd_per_s is not None:
            workload_class = replace(workload_class, value_of_time_usd_per_s=event.value_of_time_usd_per_s)
        request = RequestState(
            request_id, workload_class, tenant, input_tokens, expected, candidates, work, event.streamed, now_s
        )
        request.arrival = event
        request.max_output_tokens, request.held_bytes = event.max_output_tokens, event.held_bytes
        if event.prefix or event.session is not None:
            request.prompt = prompt_of(event)
        if event.unfit:
            request.shun(candidates.named(event.unfit))
        if self._chooser.quotas is not None:
            request.shun(self._chooser.quotas.too_small(request))
            if event.resizable and self._right_sizer is not None:
                self._right_sizer.lower(request, candidates.named(event.resizable))
        return request
