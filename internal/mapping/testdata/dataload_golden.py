#!/usr/bin/env python3
"""
Makes dataload_golden.json: what the code of dataload.py itself makes of invented records.

    git clone https://github.com/janrain/dataload && git -C dataload checkout 9ad68c6
    python3 dataload_golden.py dataload > dataload_golden.json     # made with Python 3.11.7 on Linux

Each case is put through BaseUtf8Reader.transform with the transformations that dataload_import.py adds, and through
expand_objects, as CsvBatchReader does it. "record" is the result, "error" the kind of exception that ends the run; a
result that is no JSON (NaN) is an error too, since the API refuses the whole call for it.
"""
import json
import sys

sys.path.insert(0, sys.argv[1])

from transformations import (transform_boolean, transform_date, transform_gender,  # noqa: E402
                             transform_password, transform_plural)
from utils.reader import BaseUtf8Reader  # noqa: E402
from utils.utils import expand_objects  # noqa: E402

reader = BaseUtf8Reader()
reader.add_transformation("password", transform_password)
reader.add_transformation("birthday", transform_date)
reader.add_transformation("gender", transform_gender)
reader.add_transformation("optIn.status", transform_boolean)
reader.add_transformation("clients", transform_plural)

cases = []


def case(name, header, fields):
    made = {"name": name, "header": header, "fields": fields}
    try:
        transformed = [reader.transform(header[i], value) for i, value in enumerate(fields)]
        record = expand_objects(dict(zip(header, transformed)))
        json.dumps(record, allow_nan=False)
        made["record"] = record
    except ValueError as e:
        made["error"] = type(e).__name__
    cases.append(made)


def column(column_name, values):
    for name, value in values:
        case("{}: {}".format(column_name, name), [column_name], [value])


column("password", [
    ("empty", ""),
    ("plain", "correct horse"),
    ("spaces", "   "),
    ("plain with spaces around", "  open sesame "),
    ("bcrypt object", '{"type": "password-bcrypt", "value": "$2a$04$abcdefghijklmnopqrstuv"}'),
    ("salted object, other spacing", '{"type":"password-sha-256",\n\t"value":"00ff","salt" : "s\\u00e4lt"}'),
    ("object with spaces around", ' \r\n{"type":"password-bcrypt"}\t '),
    ("empty object", "{}"),
    ("key twice", '{"type": "a", "type": "b"}'),
    ("nested", '{"a": {"b": [1, -2.50, 1e2, 12345678901234567890, true, false, null, ""]}}'),
    ("list", '["a", "b"]'),
    ("JSON string", '"quoted"'),
    ("JSON string with a bracket", '"{plain"'),
    ("quote alone", '"'),
    ("JSON string and more", '"a" b'),
    ("null", "null"),
    ("null with spaces", " null "),
    ("NULL", "NULL"),
    ("digits", "123456"),
    ("digits with zeros in front", "000123"),
    ("digits with spaces", " 123456 "),
    ("float", "1.50"),
    ("exponent", "1e3"),
    ("negative", "-1"),
    ("true", "true"),
    ("false", "false"),
    ("NaN", "NaN"),
    ("Infinity", "Infinity"),
    ("minus Infinity", "-Infinity"),
    ("NaN in an object", '{"value": NaN}'),
    ("broken object", '{"type": "password-bcrypt"'),
    ("single quotes", "{'type': 'password-bcrypt'}"),
    ("LDAP scheme", "{SSHA}abcdef"),
    ("broken list", "[1, 2"),
    ("object and more", "{} x"),
    ("control character in a string", '{"a": "\n"}'),
    ("no-break space before", "\u00a0{}"),
    ("byte order mark before", "\ufeff{}"),
    ("unicode", "пароль🔑"),
])

column("birthday", [
    ("empty", ""),
    ("full", "01/29/1881"),
    ("short", "1/2/2003"),
    ("mixed", "01/2/2003"),
    ("leap day", "02/29/2000"),
    ("no leap day", "02/29/1900"),
    ("no leap day in 2001", "2/29/2001"),
    ("last day", "12/31/9999"),
    ("30 February", "2/30/2000"),
    ("31 April", "4/31/2000"),
    ("month 0", "0/1/2000"),
    ("month 00", "00/1/2000"),
    ("month 13", "13/1/2000"),
    ("month 1 of three digits", "001/1/2000"),
    ("day 0", "1/0/2000"),
    ("day 00", "1/00/2000"),
    ("day 32", "1/32/2000"),
    ("day of three digits", "1/001/2000"),
    ("day with a space for the zero", "1/ 5/2000"),
    ("day with a space for the zero, of zero", "1/ 0/2000"),
    ("day with a space and two digits", "1/ 15/2000"),
    ("day with a space behind", "1/5 /2000"),
    ("month with a space", " 1/5/2000"),
    ("space behind", "1/5/2000 "),
    ("spaces", "  "),
    ("year of two digits", "1/5/99"),
    ("year of five digits", "1/5/19999"),
    ("year 0", "1/5/0000"),
    ("year 1", "1/5/0001"),
    ("year 999", "12/31/0999"),
    ("year 1000", "1/1/1000"),
    ("signs", "+1/+5/2000"),
    ("minus", "1/5/-200"),
    ("hexadecimal", "1/5/0x10"),
    ("ISO", "2000-01-05"),
    ("day first", "31/12/2000"),
    ("dots", "01.05.2000"),
    ("time behind", "1/5/2000 10:00"),
    ("line break behind", "1/5/2000\n"),
    ("part", "1/5"),
    ("parts too many", "1/5/2000/1"),
    ("words", "yesterday"),
    ("Arabic digits for the year", "1/5/١٩٩٠"),
    ("Arabic digits", "١/٥/١٩٩٠"),
    ("full-width digit in the day", "1/1５/2000"),
])

column("gender", [(repr(v), v) for v in [
    "", " ", "\t", "\u00a0", "\u2003", "\x1c", "\x85", "\u200b", "\ufeff",
    "male", "Male", "MALE", "M", "m", "female", "FeMale", "F", "f", "other", "Other", "O", "o",
    "Not Specified", "not specified", "NS", "ns", "NA", "N/A", "n/A", "notspecified",
    " male", "male ", "m.", "man", "x", "0", "ma\u0142e", "MALE\u0307", "FEMAL\u0130", "N\u017f", "\uff2d", "nonbinary", "null"]])

column("optIn.status", [(repr(v), v) for v in [
    "", " ", "true", "True", "TRUE", "tRuE", "T", "t", "1", "false", "False", "FALSE", "F", "f", "0",
    "yes", "no", "on", "2", "01", "1.0", " true", "true ", "fal\u017fe", "\uff54", "null", "None"]])

column("clients", [
    ("empty", ""),
    ("empty list", "[]"),
    ("spaces around", ' [ ] '),
    ("spaces", "  "),
    ("one", '[{"clientId": "62652011", "name": "Client Name 0"}]'),
    ("two, with commas and line breaks", '[{"clientId": "1", "name": "a, b"},\r\n {"clientId": "2", "name": "c\\nd"}]'),
    ("unicode", '[{"name": "Çığır \\ud83e\\udd8a 🦊"}]'),
    ("an object", '{"clientId": "1"}'),
    ("a string", '"x"'),
    ("a number", "5"),
    ("null", "null"),
    ("true", "true"),
    ("broken", '[{"clientId": "1"}'),
    ("trailing comma", '[1,]'),
    ("words", "none"),
    ("single quotes", "[{'clientId': '1'}]"),
    ("NaN", "NaN"),
    ("NaN in a list", "[NaN]"),
])

for text in ["", " ", "0", "1", "1.0", "true", "null", "NULL", "[]", "{}", '"', "\\", "/", "a\"b\\c/d", "<b>&amp;</b>",
             "tab\tand\x00\x01\x08\x0b\x0c\x1f\x7f", "LF\nCRLF\r\nCR\r", "\u2028\u2029", "Zoe\u0308", "Zo\u00eb", "\u0131\u0130",
             "\u05d0\u05d1\u05d2", "\u0634\u0645\u0633", "🦊👩‍🚀", "\ufeff", "\ufffd", "\U0010ffff", "  spaces  ", "o'hara@example.com"]:
    case("text: {!r}".format(text), ["displayName"], [text])

case("one level", ["email", "primaryAddress.city", "primaryAddress.zip"], ["a@example.com", "Testville", "00123"])
case("members apart", ["primaryAddress.city", "email", "primaryAddress.zip"], ["Testville", "a@example.com", "00123"])
case("all members null", ["email", "primaryAddress.city", "primaryAddress.zip"], ["a@example.com", "", ""])
case("one member null", ["primaryAddress.city", "primaryAddress.zip"], ["", "00123"])
case("three levels", ["a.b.c", "a.b.d", "a.e", "f"], ["1", "", "3", "4"])
case("levels apart", ["a.b.c", "x", "a.e", "a.b.d"], ["1", "2", "3", "4"])
case("transformed members", ["optIn.status", "optIn.date", "x.birthday", "x.gender", "x.password", "x.clients"],
     ["T", "1/2/2003", "1/2/2003", "M", "{}", ""])
case("name with other case", ["Gender", "Birthday", "Clients", "Password"], ["M", "1/2/2003", "", "{}"])
case("name with a quote", ['na"me', "na\\me.x"], ["1", "2"])
case("unicode names", ["straße", "größe.höhe"], ["1", "2"])
case("everything", ["email", "givenName", "familyName", "displayName", "password", "mobileNumber", "gender", "birthday",
                    "primaryAddress.phone", "primaryAddress.address1", "primaryAddress.city", "created", "clients", "optIn.status"],
     ["quillon@example.com", "Quillon", "Ashwyn", "Q, the \"first\"", '{"type": "password-bcrypt", "value": "$2a$04$x"}', "2025550159",
      "M", "01/29/1981", "", "1 Test Street\r\nFlat 2", "Testville", "2019-08-02 15:28:31", '[{"clientId": "1", "name": "a"}]', "T"])
case("everything empty", ["email", "password", "gender", "birthday", "primaryAddress.city", "clients", "optIn.status"], [""] * 7)

json.dump({"made by": "dataload_golden.py, from the code of github.com/janrain/dataload at 9ad68c6 and invented data",
           "cases": cases}, sys.stdout, indent=1)
print()
