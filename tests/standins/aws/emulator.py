"""moto as a part: carries calls out in this process, one at a time, in an account of its own for each stand-in.

It is called over WSGI with the bytes that boto3 would send, so nothing of it is patched. Its model objects are open to
the other modules where the API cannot say something (a state, a lifetime).
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from werkzeug.datastructures import MultiDict
from werkzeug.test import Client

from tests.standins.aws.call import ADMIN, AwsError, Json


class Emulator:
    """An AWS account without manners: no time passes in it, and it believes everything."""

    def __init__(self, account: str, region: str) -> None:
        """Begin empty."""
        self.account = account
        self.region = region
        self._wsgi = Client(_application())

    def ec2(self) -> Any:  # Any: moto's own objects, whose attributes are its business
        """Return moto's model of EC2."""
        from moto.ec2.models import ec2_backends

        return ec2_backends[self.account][self.region]

    def elbv2(self) -> Any:  # Any: as above
        """Return moto's model of the load balancers."""
        from moto.elbv2.models import elbv2_backends

        return elbv2_backends[self.account][self.region]

    def call(self, service: str, action: str, params: Json) -> Json:
        """Carry a call out, and return the answer in boto3's shape."""
        model, operation = _models(service, action)
        protocol = str(model.metadata["protocol"])
        wanted = {key: value for key, value in params.items() if key != "DryRun"}
        sent = create_serializer(protocol).serialize_to_request(wanted, operation)
        status, headers, body = self.raw(str(model.signing_name), sent["body"], {})
        parsed: Json = create_parser(protocol).parse(
            {"status_code": status, "headers": headers, "body": body}, operation.output_shape
        )
        if status >= 300:
            raise AwsError(parsed["Error"].get("Code", "InternalError"), parsed["Error"].get("Message") or "", status)
        parsed.pop("ResponseMetadata")
        return parsed

    def raw(self, signed_as: str, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Hand bytes (or a form) through to moto, for whatever service they are meant."""
        scope = f"Credential={ADMIN}/20260101/{self.region}/{signed_as}/aws4_request"
        kept = {k: v for k, v in headers.items() if k.lower() in ("content-type", "x-amz-target")}
        try:
            answer = self._wsgi.post(
                "/",
                data=body,
                headers=kept | {"Authorization": f"AWS4-HMAC-SHA256 {scope}, x", "x-moto-account-id": self.account},
            )
        except NotImplementedError as error:
            raise AwsError("InvalidParameterValue", f"the stand-in cannot do this: {error}") from error
        with answer:
            return answer.status_code, dict(answer.headers), answer.data


@cache
def _application() -> Any:  # Any: a WSGI application
    """Return moto, imported late, since it reads its settings then; it keeps the accounts apart, so that one is enough."""
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    os.environ["MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION"] = "1"
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    return DomainDispatcherApplication(create_backend_app)


def understood(service: str, body: bytes) -> tuple[str, Json]:
    """Return the action and the parameters of a request, in boto3's shape."""
    from moto.core.parse import PROTOCOL_PARSERS

    form = MultiDict(parse_qsl(body.decode(), keep_blank_values=True))
    model, operation = _models(service, form["Action"])
    parser = PROTOCOL_PARSERS[str(model.metadata["protocol"])](operation, map_type=dict)
    request: Any = {
        "method": "POST",
        "values": form,
        "headers": {},
        "body": body,
        "url_path": "/",
        "url_params": {},
    }  # Any: as of werkzeug
    return form["Action"], parser.parse(request) or {}


def written(service: str, action: str, answer: Json) -> bytes:
    """Return the answer as the bytes that boto3 expects."""
    from moto.core.serialize import get_serializer_class

    model, operation = _models(service, action)
    serializer = get_serializer_class(str(model.service_name), str(model.metadata["protocol"]))
    body = serializer(operation_model=operation, pretty_print=False).serialize(answer)["body"]
    return body.encode() if isinstance(body, str) else body


def _models(service: str, action: str) -> tuple[ServiceModel, OperationModel]:
    from moto.core.utils import get_service_model

    model = get_service_model(service)
    try:
        return model, model.operation_model(action)
    except Exception as error:
        raise AwsError("InvalidAction", f"The action {action} is not valid for this web service.") from error
