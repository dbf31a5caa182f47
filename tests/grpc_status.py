#!/usr/bin/env python3
"""Asks a running cert-manager for its names by gRPC reflection alone: grpc_status.py HOST:PORT

It knows nothing of the .proto files. It prints what `Status.List` answers as JSON, after checking the
standard health service.
"""

import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

TIMEOUT = 10
SERVICE = "portico.certs.v1.Status"


def main():
    with grpc.insecure_channel(sys.argv[1]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            sys.exit(f"health: {answer}")

        reflection = ProtoReflectionDescriptorDatabase(channel)
        services = reflection.get_services()
        if SERVICE not in services:
            sys.exit(f"no {SERVICE} among {services}")
        pool = descriptor_pool.DescriptorPool(reflection)
        method = pool.FindServiceByName(SERVICE).FindMethodByName("List")
        request = message_factory.GetMessageClass(method.input_type)
        response = message_factory.GetMessageClass(method.output_type)
        call = channel.unary_unary(
            f"/{SERVICE}/List",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        print(json_format.MessageToJson(call(request(), timeout=TIMEOUT)))


if __name__ == "__main__":
    main()
