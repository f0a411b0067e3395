"""Secrets in the forms in which people paste them, and addresses that hold none."""

import pytest

from lstm_model.contracts.redaction import find_secret, find_secret_in_text, is_secret_name, redact, redact_address

S = "hunter2X"
SECRETS = [
    f"postgresql://reader:{S}@db/shop",
    f"postgresql+psycopg://reader:pa?{S}@db/shop",
    f"postgresql://reader:pa/{S}@db/shop",
    f"postgresql://reader:pa#{S}@db/shop",
    f"postgresql://reader:pa@{S}@db/shop",
    f"postgresql://reader:pa {S}@db/shop",
    f"postgresql://:{S}@db/shop",
    f"postgresql://db/shop?password={S}",
    f"postgresql://db/shop?user=me&PASSWORD={S}",
    f"postgresql://db/shop?%70assword={S}",
    f"postgresql://db/shop?sslpassword={S}",
    f"https://host/x.csv?secretkey={S}",
    f"https://host/x.csv?passwort={S}",
    f"mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BODBC%7D%3BSERVER%3Ddb%3BPWD%3D{S}",
    f"mssql+pyodbc:///?odbc_connect=DRIVER%253D%257BODBC%257D%253BPWD%253D{S}",
    f"mssql+pyodbc:///?odbc_connect=DRIVER={{ODBC}};SERVER=db;UID=me;Pwd={{a;{S}}};Encrypt=yes",
    f"Driver=ODBC;Server=db;PWD={S}",
    f"host=db user=me password={S}",
    f"reader:{S}@db/shop",
    f"duckdb:///md:shop?motherduck_token={S}",
    f"snowflake://account/db?token={S}",
    f"https://me:{S}@host/x.csv",
    f"https://{S}@host/x.csv",
    f"https://host/x.csv?sv=2022&sig={S}",
    f"https://host/x.csv?X-Amz-Date=1&X-Amz-Signature={S}",
    f"https://host/x.csv?X-Amz-Security-Token={S}",
    f"https://host/x.csv?X-Goog-Signature={S}",
    f"https://host/x.csv?api_key={S}",
    f"https://host/x.csv?apikey={S}",
    f"https://host/x.csv?apiKey={S}",
    f"https://host/x.csv?x-api-key={S}",
    f"https://host/x.csv?key={S}",
    f"https://host/x.csv?code={S}",
    f"https://host/x.csv?auth_code={S}",
    f"https://host/x.csv?passcode={S}",
    f"https://host/x.csv?userpasscode={S}",
    f"https://host/x.csv?code%20=%20{S}",
    f"mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BODBC%7D%3BPWD%20%3D%20{S}",
    f"mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BODBC%7D%3BPWD+%3D+{S}",
    f"Driver=ODBC;Server=db;PWD = {S}",
    f"ftp://{S}@host/x.csv",
    f"https://host/sk_live_{S}0000000000/x.csv",
    f"https://host/sk-proj-{S}0000000000000000/x.csv",
    f"https://host/x.csv?access_key={S}",
    f"https://host/x.csv?AccountKey={S}",
    f"https://host/x.csv?auth={S}",
    f"https://host/x.csv?access_token={S}",
    f"https://host/x.csv;token={S}",
    f"https://host/x.csv#access_token={S}",
    f"https://host/get?next=https%3A%2F%2Fme%3A{S}%40other%2F",
    f"simplecache::https://me:{S}@host/x.csv",
    f"zip://*.csv::https://host/x.zip?sig={S}",
    f"s3://AKIA:{S}@bucket/x",
    f"s3://bucket/x?secret_access_key={S}",
    f"ray://user:{S}@head:10001",
    f"ray://{S}@head:10001",
    f"user:{S}@head:6379",
    f"https://hooks.slack.com/services/T000/B000/{S}",
    f"https://discord.com/api/webhooks/1/{S}",
    f"https://me.webhook.office.com/webhookb2/{S}",
    f"https://api.telegram.org/bot123:{S}/send",
    f"https://raw.host/ghp_{S}0000000000/x.csv",
]
"""Each holds S as a secret, or within one."""

PLAIN = [
    "data/a@b.csv",
    "data/load_*.csv",
    r"C:\data\a@b.csv",
    "/srv/time=12:30/x@y.csv",
    "postgresql://reader@db:5432/shop",
    "postgresql://reader@db/shop?sslmode=require&sslkey=/etc/client.key&passfile=/etc/pgpass&connect_timeout=10",
    "postgresql://db/shop?keepalives=1&options=-csearch_path%3Dsales",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BODBC%7D%3BSERVER%3Ddb%3BTrusted_Connection%3Dyes",
    "sqlite:////srv/sales.db",
    "sqlite:///file:/srv/sales.db?mode=ro&uri=true",
    "https://host:8443/x.csv?from=2024-01-01T00:00&mail=a.b&page=2",
    "https://host/x.csv?mail=a@b.org",
    "s3://bucket/year=2024/time=12:30/x@y.parquet",
    "abfss://container@account.dfs.core.windows.net/x.csv",
    "zip://*.csv::abfs://container@account.dfs.core.windows.net/x.zip",
    "sftp://reader@host/x.csv",
    "ftp://anonymous@host/x.csv",
    "https://host/x.csv?country_code=DE&zipcode=10115",
    "data/sk-sales-2024-by-country-and-region.csv",
    "data/sk_live_load_2024.csv",
    "s3://my-webhook.data/hooks/x.csv",
    "ray://head:10001",
    "auto",
    "127.0.0.1:6379",
    "/data/ASIA_sales_2024_by_country.csv",
    "data/hf_measurements_2024_all.csv",
    "dapi_export_2024_01_01.csv",
    "/lake/token=BTC/key=5/*.parquet",
    "s3://lake/token=BTC/year=2024/*.parquet",
]


@pytest.mark.parametrize("address", SECRETS)
def test_a_secret_is_found_and_hidden(address):
    found = find_secret(address)
    assert found and S not in found
    assert S not in redact_address(address)
    assert find_secret(redact_address(address)) is None or "***" in redact_address(address)


@pytest.mark.parametrize("address", PLAIN)
def test_an_address_without_a_secret_stays_as_it_is(address):
    assert find_secret(address) is None
    assert redact_address(address) == redact(address) == address


@pytest.mark.parametrize("address", [a for a in SECRETS if "://" in a])
@pytest.mark.parametrize("text", ["cannot open {}: timed out", "cannot open '{}'", 'cannot open "{}", sorry'])
def test_the_errors_of_libraries_lose_the_secret_and_keep_the_rest(address, text):
    if " " in address and "'" not in text and '"' not in text:
        pytest.skip("where such an address ends, nobody can tell")
    shown = redact(text.format(address))
    assert S not in shown
    assert shown.startswith("cannot open") and shown.endswith(text.rpartition("}")[2])


def test_a_long_text_is_redacted_as_a_whole_before_anybody_cuts_it():
    shown = redact(f"{'x' * 500} postgresql://reader:{'y' * 5000}{S}@db/shop failed")
    assert shown == f"{'x' * 500} postgresql://reader:***@db/shop failed"


def test_two_addresses_in_one_text():
    text = f"tried https://me:{S}@a/x?sig={S} then 'postgresql://b:{S}@b/c', password={S}"
    assert redact(text) == "tried https://me:***@a/x?sig=*** then 'postgresql://b:***@b/c', password=***"


NAMES = ["password", "PWD", "passcode", "passphrase", "api_key", "apikey", "access_key", "AccountKey", "auth", "sig",
         "client_secret", "access_token", "sas", "pass", "pw", "auth_code", "jwt"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["{}={}", "it failed; {}={}.", "select * from f('a=b;{}={};c')", "x ('{}={}')"])
def test_free_text_knows_the_names_that_an_address_knows(name, text):
    assert find_secret(f"https://host/x.csv?{name}={S}")
    assert find_secret_in_text(text.format(name, S)) and redact(text.format(name, S)) == text.format(name, "***")


@pytest.mark.parametrize(
    "text",
    [
        f"password = {S}", f"password: {S}", f"PASSWD : '{S}'", f"api-key: {S}", f"secret_key = \"{S}\"",
        f"create user me password '{S}'", f"alter user me identified by '{S}'", f"odbc_connect=PWD%20%3D%20{S}",
        f"Authorization: Bearer {S}0000000000", f"Authorization: Basic {S}0000000000==", f"pk_live_{S}0000000000",
        f"-----BEGIN RSA PRIVATE KEY-----\n{S}\n-----END",
    ],
)  # fmt: skip
def test_free_text_has_forms_of_its_own(text):
    assert find_secret_in_text(text) and S not in redact(text)
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("select at, token, key from loads where key = 'a' and mail = 'a@b'", False),
        (f"select * from read_parquet('https://host/x.parquet?sig={S}')", True),
        (f"select * from dblink('host=db password={S}', 'select 1')", True),
        (f"select * from dblink('host=db password = {S}', 'select 1')", True),
        ("select * from a join b on a.client_key=b.client_key and a.account_key = b.account_key", False),
        (
            "select * from a where product_key=5 and client_key=7 and t.key='a' and code='DE' and country_code='DE'",
            False,
        ),
        ("select * from a where token = 'BTC' and auth = 'x' and is_secret = true", False),
        ("select at, hf_sensor_readings_all from ASIA_electricity_load where kind = 'a'", False),
    ],
)
def test_a_query_may_name_columns_as_it_likes_but_holds_no_secret(query, found):
    assert bool(find_secret_in_text(query)) == found
    assert S not in redact(query)


def test_names_of_settings_that_hold_secrets():
    assert all(map(is_secret_name, ["password", "password_from", "dbPassword", "SIG", "client_secret", "api-key"]))
    assert not any(map(is_secret_name, ["path", "key_column", "partition_key", "design", "sslkey", "passenger", ""]))
