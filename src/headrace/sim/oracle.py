"""The oracle: a length predictor that knows. Only the simulator builds one, to say what knowing is worth."""

from __future__ import annotations


class OraclePredictor:
    """Predicts the true length of requests that the simulator told it of. Implements `policy.LengthPredictor`."""

    def __init__(self) -> None:
        self._lengths: dict[int, int] = {}

    def tell(self, request_id: int, output_tokens: int) -> None:
        """Say what the request will produce, before it arrives."""
        self._lengths[request_id] = output_tokens

    def predict(self, request_id: int, workload_class: str, tenant: str, input_tokens: int) -> float:
        """The true length, told once."""
        return float(max(self._lengths.pop(request_id), 1))

    def observe(self, workload_class: str, tenant: str, input_tokens: int, output_tokens: int) -> None:
        """Nothing to learn."""
