"""Vertex AI's OpenAI endpoint. The base URL ends with `/endpoints/openapi`, or `/publishers/openai/v1`."""

from __future__ import annotations

from headrace.wire.dialects.dialect import Auth, Dialect, ErrorRow, ErrorShape
from headrace.wire.error_kind import ErrorKind

SDK = "openai 3.54.0 (providers/vertex.py)"
DIGEST = "developersdigest.tech/errors/api/vertex-ai"

VERTEX = Dialect(
    name="vertex",
    title="Vertex AI",
    hosts=("*aiplatform.googleapis.com",),
    auth=(Auth.TOKEN_COMMAND,),
    paths={"chat": "/chat/completions"},
    models_path=None,
    error_shape=ErrorShape.GOOGLE,
    errors=(
        ErrorRow(ErrorKind.QUOTA, 429, DIGEST, "RESOURCE_EXHAUSTED", 429, "Resource exhausted, please try again later"),
        ErrorRow(ErrorKind.OVERLOADED, 503, DIGEST, "UNAVAILABLE", 503, "The service is currently unavailable."),
        ErrorRow(ErrorKind.MISCONFIGURED, 401, DIGEST, "UNAUTHENTICATED", 401, "Invalid authentication credentials"),
        ErrorRow(ErrorKind.MISCONFIGURED, 403, DIGEST, "PERMISSION_DENIED", 403, "Permission denied on resource"),
        ErrorRow(ErrorKind.BAD_REQUEST, 400, DIGEST, "INVALID_ARGUMENT", 400, "Request contains an invalid argument."),
        ErrorRow(
            ErrorKind.CONTEXT_LENGTH,
            400,
            "recalled",
            "INVALID_ARGUMENT",
            400,
            "The input token count (9000) exceeds the maximum number of tokens allowed (8192).",
        ),
        ErrorRow(ErrorKind.MODEL_NOT_FOUND, 404, DIGEST, "NOT_FOUND", 404, "Publisher model was not found"),
        ErrorRow(ErrorKind.SERVER_ERROR, 500, DIGEST, "INTERNAL", 500, "Internal error encountered."),
        ErrorRow(ErrorKind.SERVER_ERROR, 499, DIGEST, "CANCELLED", 499, "The operation was cancelled."),
    ),
    notes=(
        "Tokens live about an hour: `token_command` prints one (`gcloud auth print-access-token`), and is run again.",
        "Whether an answer can be continued depends on the model: taken as no.",
    ),
    sources={
        "auth": SDK,
        "paths": SDK + "; recalled",
        "error_shape": DIGEST,
        "usage": "recalled",
        "done_marker": "recalled",
    },
)
