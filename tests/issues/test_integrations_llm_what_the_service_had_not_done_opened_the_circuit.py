"""An API key with a line break cannot be sent, and both clients call that a lost connection: who had such a key opened the
circuit for all others. Who asked what had become of a job was told that it had failed, and this was a failure of the
service. LiteLLM writes the status of an error as text, so that too many requests were a failure, and wrong ones as well.
"""

import io
import socket

import anthropic
import openai
import pytest
from openai.types.fine_tuning import FineTuningJob

from resilience import Ending, Verdict
from resilience.integrations.llm import judge


class Broken(io.RawIOBase):
    def readable(self):
        return True

    def readinto(self, buffer):
        raise OSError("the disk is broken")


@pytest.fixture
def url():
    """Of a server that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("client", [openai.OpenAI, anthropic.Anthropic])
@pytest.mark.parametrize("wrong", [{"api_key": "key\n"}, {"base_url": "localhost/v1"}])
def test_a_request_that_no_server_could_be_sent_is_the_callers_fault(client, wrong, url, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with client(**{"api_key": "key", "base_url": url, "max_retries": 0, **wrong}) as made, \
            pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)) as caught:
        made.models.list()
    assert Verdict.CALLER_FAULT is judge(Ending(error=caught.value))


def test_what_the_callers_own_upload_raises_is_the_callers_fault(url, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with openai.OpenAI(api_key="key", base_url=url, max_retries=0) as client, pytest.raises(OSError) as caught:
        client.files.create(file=("batch", io.BufferedReader(Broken())), purpose="batch")
    assert Verdict.CALLER_FAULT is judge(Ending(error=caught.value))


@pytest.mark.parametrize("is_item", [True, False])
def test_a_job_that_has_failed_is_no_failure_of_who_tells_of_it(is_item):
    told = {"id": "1", "object": "fine_tuning.job", "status": "failed", "error": {"code": "x", "message": "bad file"}}
    for job in (told, FineTuningJob.construct(**told), {"object": "video", "error": {"code": "y", "message": "bad"}}):
        assert None is judge(Ending(result=job, is_item=is_item))
    answer = {"object": "chat.completion.chunk", "choices": [], "error": {"message": "no more memory"}}
    assert Verdict.FAILED is judge(Ending(result=answer, is_item=is_item))
    assert None is judge(Ending(result={"text": "hi", "error": ""}, is_item=is_item))


@pytest.mark.parametrize(("code", "verdict"), [
    ("429", Verdict.BUSY), ("400", Verdict.CALLER_FAULT), ("503", Verdict.FAILED), ("42", Verdict.FAILED),
    ("too_many_requests", Verdict.BUSY)])
def test_a_code_may_be_a_status_as_text(code, verdict):
    error = {"message": "said", "type": "None", "param": "None", "code": code}
    assert verdict is judge(Ending(result={"error": error}, is_item=True))
