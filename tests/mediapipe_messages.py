"""LlmParameters of the classes that mediapipe's own descriptors make, which are in the fixtures."""

from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

FIXTURES = Path(__file__).parent / "bundler" / "fixtures"


def their_message(fixture: str) -> Any:
    """An empty LlmParameters, of the class that mediapipe's own descriptor makes."""
    files = FileDescriptorSet.FromString((FIXTURES / fixture).read_bytes()).file
    paths = {file.name.rpartition("/")[2]: file for file in files}
    pool = DescriptorPool()
    for name in (*sorted(paths.keys() - {"audio_encoder_params.proto", "llm_params.proto"}),
                 "audio_encoder_params.proto", "llm_params.proto"):  # fmt: skip
        pool.AddSerializedFile(paths[name].SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("odml.infra.proto.LlmParameters"))()
