"""Amazon Bedrock's OpenAI endpoints. The base URL ends before `/v1`: `https://bedrock-runtime.REGION.amazonaws.com/openai`."""

from __future__ import annotations

from headrace.wire.dialects.dialect import (
    CHAT,
    RESPONSES,
    Auth,
    Dialect,
    ErrorRow,
    ErrorShape,
)
from headrace.wire.error_kind import ErrorKind

GUIDE = "docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html"
SDK = "openai 3.54.0 (providers/bedrock.py)"
LITELLM = "litellm 1.109.1"

BEDROCK = Dialect(
    name="bedrock",
    title="Amazon Bedrock",
    hosts=("bedrock-*.amazonaws.com", "bedrock-*.api.aws"),
    auth=(Auth.BEARER, Auth.SIGV4),
    paths={"chat": CHAT, "responses": RESPONSES},
    error_shape=ErrorShape.AWS,
    errors=(
        ErrorRow(ErrorKind.QUOTA, 429, LITELLM, "ThrottlingException", None, "Too many requests, please wait"),
        ErrorRow(ErrorKind.OVERLOADED, 503, LITELLM, "ServiceUnavailableException", None, "Service is unavailable"),
        ErrorRow(ErrorKind.MISCONFIGURED, 403, LITELLM, "AccessDeniedException", None, "Access denied to the model"),
        ErrorRow(ErrorKind.BAD_REQUEST, 400, LITELLM, "ValidationException", None, "The request is malformed"),
        ErrorRow(
            ErrorKind.CONTEXT_LENGTH,
            400,
            LITELLM,
            "ValidationException",
            None,
            "Input is too long for requested model.",
        ),
        ErrorRow(ErrorKind.MODEL_NOT_FOUND, 404, LITELLM, "ResourceNotFoundException", None, "The model was not found"),
        ErrorRow(ErrorKind.SERVER_ERROR, 500, LITELLM, "InternalServerException", None, "Internal server error"),
    ),
    notes=(
        "Signature Version 4 with the service name `bedrock` where no api_key_env is set; keys come from "
        f"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if set, AWS_SESSION_TOKEN ({SDK}).",
        f"Responses are synchronous on bedrock-runtime, without server tools; gpt-oss is on bedrock-mantle ({GUIDE}).",
        "Whether an answer can be continued depends on the model: taken as no.",
    ),
    sources={"auth": SDK, "paths": GUIDE, "error_shape": LITELLM, "usage": "recalled", "done_marker": "recalled"},
)
