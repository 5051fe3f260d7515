"""The tables of the index, in the words of both databases.

Text sorts bytewise everywhere, as keys of stores do. Names of persons stand in normal form in a column for each group
and once as words (``matching.normal_names``, ``matching.name_words``); dates and times in normal form. ``js`` is the
ready answer of a search without further attributes, ``header`` all attributes of that level, both JSON.
"""

from __future__ import annotations

VERSION = "1"
OTHER_VERSION = "The index was made by another version of microtome; make a new one"
NO_NUMBER = 1 << 62
"""Stands for a series or instance number that is missing, so that it sorts last in both databases."""

_NAME = "{0}_a {{text}}, {0}_i {{text}}, {0}_p {{text}}, {0}_words {{text}}"

_TABLES = (
    "CREATE TABLE IF NOT EXISTS meta (name {text} PRIMARY KEY, value {text})",
    """CREATE TABLE IF NOT EXISTS file (id {int} PRIMARY KEY, key {text} UNIQUE, size {int}, version {text},
    modified {float}, state {int}, reason {text}, sop_uid {text})""",
    "CREATE INDEX IF NOT EXISTS file_problem ON file (key) WHERE state >= 2",
    "CREATE INDEX IF NOT EXISTS file_duplicate ON file (sop_uid) WHERE state = 3",
    "CREATE TABLE IF NOT EXISTS template (id {int} PRIMARY KEY, series_uid {text}, data {blob})",
    "CREATE INDEX IF NOT EXISTS template_series ON template (series_uid)",
    f"""CREATE TABLE IF NOT EXISTS study (id {{int}} PRIMARY KEY, uid {{text}} UNIQUE, patient_id {{text}},
    {_NAME.format("patient")}, birth {{text}}, sex {{text}}, date {{text}}, time {{text}}, accession {{text}},
    description {{text}}, {_NAME.format("referring")}, study_id {{text}}, modalities {{text}}, n_series {{int}},
    n_instances {{int}}, revision {{int}}, js {{blob}}, header {{blob}})""",
    "CREATE INDEX IF NOT EXISTS study_order ON study (date DESC, time DESC, id DESC)",
    "CREATE INDEX IF NOT EXISTS study_patient ON study (patient_id)",
    "CREATE INDEX IF NOT EXISTS study_name ON study (patient_a)",
    "CREATE INDEX IF NOT EXISTS study_accession ON study (accession)",
    """CREATE TABLE IF NOT EXISTS series (id {int} PRIMARY KEY, study {int}, uid {text}, modality {text}, number {int},
    description {text}, date {text}, time {text}, body_part {text}, pps_date {text}, pps_time {text},
    n_instances {int}, revision {int}, js {blob}, header {blob}, UNIQUE (study, uid))""",
    "CREATE INDEX IF NOT EXISTS series_uid ON series (uid)",
    "CREATE INDEX IF NOT EXISTS series_modality ON series (modality, study)",
    """CREATE TABLE IF NOT EXISTS instance (id {int} PRIMARY KEY, series {int}, uid {text} UNIQUE, sop_class {text},
    syntax {text}, number {int}, rows {int}, columns {int}, frames {int}, bits {int}, file {int}, px_vr {text},
    px_offset {int}, px_length {int}, header_length {int}, template {int}, header {blob})""",
    "CREATE INDEX IF NOT EXISTS instance_order ON instance (series, number, id)",
    "CREATE INDEX IF NOT EXISTS instance_file ON instance (file)",
    "CREATE INDEX IF NOT EXISTS instance_class ON instance (series, sop_class)",
    "CREATE TABLE IF NOT EXISTS frames (instance {int} PRIMARY KEY, data {blob})",
)


def statements(*, text: str, whole: str, real: str, blob: str) -> list[str]:
    """What makes the tables, given the names of the types of a database."""
    types = {"text": f"{text} NOT NULL", "int": whole, "float": real, "blob": blob}
    return [statement.format_map(types) for statement in _TABLES]
