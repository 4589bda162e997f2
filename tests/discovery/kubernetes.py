"""What the API server of Kubernetes answers about EndpointSlices, as its documentation has it, from a small server."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit


def endpoint(address: str, *, zone: str = "", uid: str = "", **conditions: Any) -> dict[str, Any]:
    """An endpoint; without *conditions* it is ready."""
    said: dict[str, Any] = {"addresses": [address], "conditions": conditions or {"ready": True, "serving": True, "terminating": False},
                            "nodeName": "node-1"}
    if zone:
        said["zone"] = zone
    if uid:
        said["targetRef"] = {"kind": "Pod", "namespace": "shop", "name": f"orders-{uid}", "uid": uid}
    return said


def endpoint_slice(name: str, *endpoints: dict[str, Any], ports: Any = (("http", 8080),), kind: str = "IPv4") -> dict[str, Any]:
    """A slice of the service orders."""
    return {"metadata": {"name": name, "generateName": "orders-", "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "9788",
                         "labels": {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                                    "kubernetes.io/service-name": "orders"}},
            "addressType": kind, "endpoints": list(endpoints),
            "ports": [{"name": each, "port": port, "protocol": "TCP"} for each, port in ports]}


class ApiServer:
    """Lists slices page by page; what is on the pages is what there was when the first was asked for."""

    def __init__(self, *slices: dict[str, Any]) -> None:
        self.slices, self.token, self.page = list(slices), "a-token", 2
        self.asked: list[dict[str, str]] = []
        self.snapshots: dict[str, list[dict[str, Any]]] = {}
        self.expired_after: int | None = None  # pages

    def answer(self, target: str, authorization: str | None) -> tuple[int, Any]:
        """Status and JSON."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if authorization != f"Bearer {self.token}":
            return 401, self._failure(401, "Unauthorized")
        if parts.path != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices":
            return 403, self._failure(403, "Forbidden")
        self.asked.append(query)
        if query["labelSelector"] != "kubernetes.io/service-name=orders":
            return 200, self._list([], "")
        snapshot, start = list(self.slices), 0
        if "continue" in query:
            key, _, at = query["continue"].rpartition("/")
            if key not in self.snapshots or self.expired_after == 0:
                self.expired_after = None
                return 410, self._failure(410, "Expired")
            snapshot, start = self.snapshots[key], int(at)
            if self.expired_after is not None:
                self.expired_after -= 1
        else:
            key = f"token=={len(self.snapshots)}"
            self.snapshots[key] = snapshot
        page = snapshot[start:start + min(self.page, int(query["limit"]))]
        following = start + len(page)
        return 200, self._list(page, f"{key}/{following}" if following < len(snapshot) else "")

    def _list(self, items: list[dict[str, Any]], following: str) -> dict[str, Any]:
        metadata = {"resourceVersion": "9802", **({"continue": following, "remainingItemCount": 1} if following else {})}
        return {"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": metadata, "items": items}

    def _failure(self, code: int, reason: str) -> dict[str, Any]:
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": code}

    def respond(self, head: bytes) -> bytes:
        """The bytes of the answer to a request's head."""
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status, said = self.answer(first.split()[1], headers.get("authorization"))
        content = json.dumps(said).encode()
        return (f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
                f"Connection: close\r\n\r\n").encode() + content
