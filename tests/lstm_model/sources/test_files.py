"""Files that a source names, and those that are not there."""

import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.sources.files import locate_files


@pytest.mark.parametrize("path", ["sales.csv", "sales*.csv", "2024/sales.csv"])
def test_a_missing_file_names_the_tables_beside_it_and_no_other_file(tmp_path, path):
    for name in ("sale.csv", "shops.parquet", "id_rsa", "notes.docx"):
        (tmp_path / name).touch()
    (tmp_path / "private").mkdir()
    with pytest.raises(DataError) as caught:
        locate_files(f"{tmp_path}/{path}")
    assert str(caught.value).endswith(f"the folder {tmp_path} holds: sale.csv, shops.parquet")


def test_a_folder_without_tables_says_so(tmp_path):
    (tmp_path / "id_rsa").touch()
    with pytest.raises(DataError) as caught:
        locate_files(f"{tmp_path}/sales.csv")
    assert str(caught.value).endswith(f"the folder {tmp_path} holds no table (CSV, Parquet or spreadsheet)")
