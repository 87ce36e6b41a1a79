"""`exported/NAME/serving/`: the files say what TensorFlow Serving, Compose and Kubernetes read."""

import re

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from zip_keras.cli import main
from zip_keras.errors import UserError
from zip_keras.export.deployment import write_deployment

# tensorflow_serving/servables/tensorflow/session_bundle_config.proto, BatchingParameters
BATCHING_FIELDS = {"max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_deployment(tmp_path_factory.mktemp("exported") / "Cells_2")


def test_the_model_and_its_name_are_the_same_everywhere(written):
    text = (written / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [model] = config.model_config_list.config
    assert (model.name, model.base_path) == ("Cells_2", "/models/Cells_2")
    assert model.model_version_policy.latest.num_versions == 1
    [service] = yaml.safe_load((written / "compose.yaml").read_text())["services"].values()
    deployment, network = yaml.safe_load_all((written / "kubernetes.yaml").read_text())
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert service["command"] == container["args"]
    assert f"..:{model.base_path}:ro" in service["volumes"]
    assert {"name": "models", "mountPath": model.base_path, "readOnly": True} in container["volumeMounts"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/Cells_2", "port": "rest"}
    names = {deployment["metadata"]["name"], network["metadata"]["name"], *network["spec"]["selector"].values()}
    assert names == {"cells-2"}
    assert deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]


def test_every_file_that_a_flag_names_is_there(written):
    [service] = yaml.safe_load((written / "compose.yaml").read_text())["services"].values()
    named = re.findall(r"=/serving/(\S+)", "\n".join(service["command"]))
    assert set(named) == {"models.config", "monitoring.config"}
    assert all((written / name).is_file() for name in named)
    assert set(re.findall(r"--from-file=(\S+)", (written / "kubernetes.yaml").read_text())) == set(named)
    metrics = re.search(r'path: "(\S+)"', (written / "monitoring.config").read_text())[1]
    annotations = yaml.safe_load_all((written / "kubernetes.yaml").read_text())
    assert next(annotations)["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"] == metrics


def test_every_number_of_batching_has_a_reason_above_it(written):
    lines = (written / "batching.config").read_text().splitlines()
    fields = {
        line.split()[0]: lines[place - 1] for place, line in enumerate(lines) if line and not line.startswith("#")
    }
    assert set(fields) == BATCHING_FIELDS
    assert all(above.startswith("# ") for above in fields.values())


def test_a_folder_that_is_there_stays(written):
    (written / "models.config").write_text("edited")
    assert write_deployment(written.parent) is None
    assert (written / "models.config").read_text() == "edited"
    assert [entry.name for entry in written.parent.iterdir()] == ["serving"]


def test_names_that_would_need_quotes_are_refused(tmp_path, capsys):
    with pytest.raises(UserError, match="cannot name a served model"):
        write_deployment(tmp_path / 'a "model"')
    words = ["export", "--model", "zip_lite", "--output", str(tmp_path / "my model"), "--serving"]
    assert main(words) == 2
    assert "cannot name a served model" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
