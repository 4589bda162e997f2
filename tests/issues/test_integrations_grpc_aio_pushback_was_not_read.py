"""Before grpcio 1.80, the keys() of the metadata of grpc.aio are pairs of a key and a value. So a dict of it was a KeyError,
``grpc-retry-pushback-ms`` was not read, and a server that was busy counted as one that fails.
"""

from collections.abc import KeysView
from types import MappingProxyType

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from resilience.core.retry_after import asked_for


class EarlierMetadata(Metadata):
    def keys(self):
        return KeysView(self)


def test_the_pushback_of_an_error_of_any_version_is_read():
    said = EarlierMetadata(("grpc-retry-pushback-ms", "7000"))
    error = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), said, "busy")
    assert asked_for(error) == 7.0


@pytest.mark.parametrize("metadata", [{"retry-after": "7"}, MappingProxyType({"retry-after": "7"}), (("retry-after", "7"),), Metadata(("retry-after", "7"))])
def test_metadata_is_read_in_each_form(metadata):
    class Busy(Exception):
        def trailing_metadata(self):
            return metadata

    assert asked_for(Busy()) == 7.0
