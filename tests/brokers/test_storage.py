import re

import pytest

from visionbus.brokers.errors import DataError
from visionbus.brokers.storage import claimed


def test_temporary_folder_is_removed():
    with claimed(None, 1) as storage:
        (storage.folder / "node-1").mkdir()
    assert not storage.folder.exists()


def test_folder_stays_and_is_the_same_cluster_again(tmp_path):
    with claimed(tmp_path / "new" / "data", 3) as first:
        (first.folder / "node-1").mkdir()
    with claimed(tmp_path / "new" / "data", 3) as second:
        assert second == first
    assert re.fullmatch(r"[\w-]{22}", first.cluster, re.ASCII)


def test_each_cluster_has_an_id_of_its_own(tmp_path):
    with claimed(tmp_path / "a", 1) as a, claimed(tmp_path / "b", 1) as b:
        assert a.cluster != b.cluster


def test_cluster_of_another_number_of_nodes_is_refused(tmp_path):
    with claimed(tmp_path, 3):
        pass
    with pytest.raises(DataError, match="another number of nodes, 3, than 1"), claimed(tmp_path, 1):
        pass


def test_folder_in_use_is_refused_until_it_is_free_again(tmp_path):
    refused = pytest.raises(DataError, match="another process has a cluster running")
    with claimed(tmp_path, 1), refused, claimed(tmp_path, 1):
        pass
    with claimed(tmp_path, 1):
        pass


def test_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "letters.txt").touch()
    with pytest.raises(DataError, match=r"holds no cluster but 'letters\.txt'"), claimed(tmp_path, 1):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]
