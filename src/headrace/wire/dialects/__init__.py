"""Dialects: in what each provider's API differs from the others', one small table each."""

from headrace.wire.dialects.anthropic import ANTHROPIC
from headrace.wire.dialects.bedrock import BEDROCK
from headrace.wire.dialects.capability import CAPABILITIES
from headrace.wire.dialects.cerebras import CEREBRAS
from headrace.wire.dialects.dialect import (
    Auth,
    Continuation,
    Dialect,
    ErrorRow,
    ErrorShape,
    Parameter,
    RateLimits,
    Reservation,
    ResetEncoding,
    SchemaSubset,
    Signals,
    StreamError,
    Treatment,
    Usage,
)
from headrace.wire.dialects.fit import Fitted, Fitter
from headrace.wire.dialects.groq import GROQ
from headrace.wire.dialects.llama_cpp import LLAMA_CPP
from headrace.wire.dialects.ollama import OLLAMA
from headrace.wire.dialects.openai import COMPATIBLE, OPENAI
from headrace.wire.dialects.sglang import SGLANG
from headrace.wire.dialects.sigv4 import AwsKeys, region_of, sign
from headrace.wire.dialects.tensorrt_llm import DYNAMO, NIM, TENSORRT_LLM
from headrace.wire.dialects.vertex import VERTEX
from headrace.wire.dialects.vllm import VLLM, VLLM_AMD, VLLM_NEURON, VLLM_TPU

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        COMPATIBLE,
        OPENAI,
        ANTHROPIC,
        CEREBRAS,
        GROQ,
        VLLM,
        VLLM_AMD,
        VLLM_TPU,
        VLLM_NEURON,
        SGLANG,
        TENSORRT_LLM,
        DYNAMO,
        NIM,
        LLAMA_CPP,
        OLLAMA,
        BEDROCK,
        VERTEX,
    )
}

__all__ = [
    "CAPABILITIES",
    "COMPATIBLE",
    "DIALECTS",
    "Auth",
    "AwsKeys",
    "Continuation",
    "Dialect",
    "ErrorRow",
    "ErrorShape",
    "Fitted",
    "Fitter",
    "Parameter",
    "RateLimits",
    "Reservation",
    "ResetEncoding",
    "SchemaSubset",
    "Signals",
    "StreamError",
    "Treatment",
    "Usage",
    "region_of",
    "sign",
]
