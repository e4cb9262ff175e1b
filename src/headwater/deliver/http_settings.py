"""Settings of an HTTP destination in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, SecretStr, WithJsonSchema, model_validator

from headwater.deliver.http_template import TemplateError, body_template, header_template, url_template

TEMPLATE = (
    "{{column}} stands for a column's value, {{*}} for the whole row as a JSON object, {{@op}} for upsert, delete or "
    "insert, {{@key}} for the record's idempotency key, {{@epoch}} for its epoch"
)


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and "{" not in parts.netloc
        good = good and parts.port != 0 and not parts.fragment
    except ValueError:
        good = False
    if not good:
        raise ValueError("write it as https://HOST/PATH; columns may stand in the path and after the ?")
    if parts.username or parts.password:
        raise ValueError("an address with a password in it ends up in logs: use `user` and `password`, or `token`")
    try:
        url_template(url)
    except TemplateError as error:
        raise ValueError(str(error)) from error
    return url


Url = Annotated[str, AfterValidator(_checked_url)]
Status = Annotated[int, Field(ge=100, le=599)]


class HttpSettings(BaseModel):
    """An HTTP API that is called for each change of a model, or for many at a time. At least once: every record has an
    idempotency key that is the same whenever it is sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["http"] = Field("http", description="Kind of destination.")
    url: Url = Field(
        description=f"What is called. {TEMPLATE}; values are percent-encoded.",
        examples=["https://crm.example.com/customers/{{customer_id}}"],
    )
    method: Literal["POST", "PUT", "PATCH"] = Field("POST", description="Method for rows that appear or change.")
    body: str | None = Field(
        None,
        description="What is sent. Values are written as JSON, inside of quotes as part of the text. The default is "
        "{{*}} for a record by itself, and for one of many an object with op, key and row.",
        examples=['{"name": {{name}}, "note": "customer {{customer_id}}"}'],
    )
    delete_method: Literal["DELETE", "POST", "PUT", "PATCH", "none"] = Field(
        "DELETE",
        description="Method for rows that go; none: they are not sent. Of records sent together, `method` counts.",
    )
    delete_url: Url | None = Field(None, description="What is called for rows that go; the default is url.")
    delete_body: str | None = Field(None, description="What is sent for rows that go; nothing by default.")
    together: Literal["no", "array", "ndjson"] = Field(
        "no",
        description="no: a request for each record. array: the records of a batch as one JSON array. ndjson: as lines. "
        "The url of records that are sent together has no columns in it.",
    )
    content_type: str | None = Field(
        None,
        description="Type of the body. With application/x-www-form-urlencoded values are percent-encoded. The default "
        "is application/json, or application/x-ndjson.",
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="More headers, with columns if you like.",
        examples=[{"X-Tenant": "{{tenant}}"}],
    )
    idempotency_header: str = Field(
        "Idempotency-Key", pattern=r"^[A-Za-z0-9-]+$", description="Header with the idempotency key."
    )
    token: SecretStr | None = Field(None, description="Sent as `Authorization: Bearer ...`.", examples=["${CRM_TOKEN}"])
    user: str | None = Field(None, min_length=1, description="User, of basic authentication.")
    password: SecretStr | None = Field(None, description="Its password.", examples=["${CRM_PASSWORD}"])
    secret_header: str | None = Field(
        None, pattern=r"^[A-Za-z0-9-]+$", description="Header with a secret.", examples=["X-Api-Key"]
    )
    secret: SecretStr | None = Field(None, description="What it says.", examples=["${CRM_KEY}"])
    accept: tuple[Status, ...] = Field(
        (), description="Statuses that mean delivered, besides those from 200 to 299; of deletes also 404 and 410."
    )
    retry: tuple[Status, ...] = Field(
        (), description="Statuses after which the record is tried again, besides 408, 425, 429 and those from 500 on. "
        "All others refuse the record.",
    )  # fmt: skip
    connections: int = Field(4, ge=1, le=32, description="Requests at a time.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds for a request and its answer.")
    max_body: Annotated[ByteSize, WithJsonSchema({"type": ["integer", "string"]}), Field(ge=1024)] = Field(
        default=ByteSize(2**20), description="Largest body of records sent together; default 1 MiB."
    )
    allow_private: bool = Field(False, description="Whether the server may have a loopback or private address.")
    ca_file: str | None = Field(None, description="File of the authorities to trust beside the machine's own.")

    @property
    def kind(self) -> str:
        """The body's content type."""
        return self.content_type or ("application/x-ndjson" if self.together == "ndjson" else "application/json")

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        ways = [self.token is not None, self.user is not None, (self.secret_header or "").lower() == "authorization"]
        if sum(ways) > 1:
            raise ValueError("give a `token`, or a `user` with its `password`, or a `secret_header`, not two of them")
        if (self.user is None) != (self.password is None) or (self.secret_header is None) != (self.secret is None):
            raise ValueError("`user` and `password` go together, and so do `secret_header` and `secret`")
        return self

    @model_validator(mode="after")
    def _templates_are_sound(self) -> Self:
        try:
            for body in (self.body, self.delete_body):
                if body is not None:
                    body_template(body, self.kind)
            for name, value in self.headers.items():
                if not name.replace("-", "").isalnum() or not name.isascii():
                    raise TemplateError(f"{name!r} is not the name of a header")
                header_template(value)
            if self.together != "no" and url_template(self.url).columns:
                raise TemplateError("records that are sent together have one url: without columns in it")
            if self.together != "no" and self.body and not self.delete_body and self.delete_method != "none":
                raise TemplateError("say what is sent for rows that go: `delete_body`, or `delete_method: none`")
            if self.together != "no" and "json" not in self.kind:
                raise TemplateError("records that are sent together are JSON")
        except TemplateError as error:
            raise ValueError(str(error)) from error
        return self
