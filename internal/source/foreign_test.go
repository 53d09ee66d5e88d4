package source

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
)

// refusals returns the reasons of Inspect and of a Reader to refuse a file; "" if they accept it.
func refusals(t *testing.T, f *file, d Delimiter) (inspected, read string) {
	t.Helper()
	_, err := f.inspect(InspectOptions{BatchSize: 100, Delimiter: d})
	if err != nil && !errors.As(err, new(*Refusal)) {
		t.Fatal(err)
	}
	r, openErr := OpenReader(t.Context(), f.path, ReaderOptions{Delimiter: d, Refused: func(refusal *Refusal) { read += refusal.Error() }})
	if openErr != nil {
		t.Fatal(openErr)
	}
	defer r.Close()
	recordsOf(t, r, func(refusal *Refusal) { read += refusal.Error() })
	if err != nil {
		inspected = err.Error()
	}
	return inspected, read
}

func TestOtherFileFormatsAreRefusedByName(t *testing.T) {
	for _, c := range []struct{ content, want string }{
		{`{"users": [{"mail": "x"}]}`, "JSON"}, {"{\n  'a': 1}", "JSON"}, {"[\n{\"a\": 1}]", "JSON"}, {"[]", "JSON"},
		{"{\"a\":1}\n{\"a\":2}\n", "JSON"}, {"\n\n  [{\"a\":1},\n{\"a\":2}]", "JSON"},
		{"<html>\n<body>Sign in", "HTML"}, {"\n<!doctype HTML>\n", "HTML"}, {"<?xml version='1.0'?><users/>", "XML"}, {"<Users><User/></Users>", "XML"},
		{"HTTP/1.1 403 Forbidden\nServer: x\n", "web server"},
		{"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"},
		{"-----BEGIN PGP MESSAGE-----\n\nabc\n", "PGP"}, {"-----BEGIN CERTIFICATE-----\nMIIB\n", "certificate"}, {"age-encryption.org/v1\n-> X25519 x\n", "age"},
		{"Salted__\x8d\x02345678", "OpenSSL"}, {"GIF89a\x10\x00\x10\x00\xf7", "picture"}, {"GIF87a\x10\x00\x10\x00\xf7", "picture"}, {"PGDMP\x01\x0e\x00", "PostgreSQL"},
		{"BEGIN:VCARD\nFN:Ann\n", "vCard"}, {"begin:vcalendar\n", "calendar"},
		{"dn: uid=ann,dc=example,dc=com\nuid: ann\n", "LDIF"}, {"# extended LDIF\n#\n", "LDIF"}, {"version: 1\n\ndn: x\n", "LDIF"},
		{"Received: from x by y\nTo: z\n", "e-mail"}, {"From ann Mon May  1\nTo: z\n", "e-mail"}, {"MIME-Version: 1.0\nContent-Type: text/csv\n", "e-mail"},
		{"INSERT INTO users VALUES (1);\n", "SQL"}, {"-- MySQL dump 10.13\n", "SQL"}, {"create table users (id int);\n", "SQL"}, {"SET NAMES utf8;\n", "SQL"}, {"select * from users;\n", "SQL"}, {"SELECT *\tFROM users\n", "SQL"}, {"COPY public.users (id) FROM stdin;\n", "SQL"}, {"/*!40101 SET x */;\n", "SQL"},
		{"---\nusers:\n", "YAML"}, {"- name: Ann\n  city: X\n", "YAML"}, {"users:\n  - name: Ann\n", "YAML"}, {"name: Ann\ncity: X\n", "YAML"}, {"name = Ann\ncity = X\n", "name = value"},
		{"[users]\nname = Ann\n", "INI"}, {"#!/bin/sh\necho\n", "program"}, {"diff --git a/x b/x\n", "patch"},
		{"+----+------+\n| id | name |\n+----+------+\n", "table"}, {" id | name\n----+------\n  1 | Ann\n", "table"}, {"| id | name |\n|----|------|\n", "table"},
		{"2024-05-01T10:00:00Z INFO started\n", "log"}, {"127.0.0.1 - - [01/May/2024:10:00:00 +0000] \"GET /\" 200\n", "log"}, {"May  1 10:00:00 host sshd[1]: x\n", "log"},
		{"%PDF-1.7\n%\xe2\xe3\n", "PDF"}, {"SQLite format 3\x00\x10\x00", "SQLite"}, {"PAR1\x15\x04\x15", "Parquet"}, {"Obj\x01\x04\x14avro", "Avro"},
		{"PK\x03\x04\x14\x00", "Excel"}, {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "Excel"}, {"\xfd7zXZ\x00\x00", "xz"}, {"BZh91AY&SY\x00", "bzip2"}, {"7z\xbc\xaf\x27\x1c\x00", "7-Zip"},
		{"\x53\x2a\x4d\x18\x04\x00\x00\x00abcd\x28\xb5\x2f\xfd", "zstd"}, {"\x89PNG\r\n\x1a\n", "picture"}, {"{\\rtf1\\ansi", "rich text"},
		{"users.csv" + strings.Repeat("\x00", 248) + "ustar\x0000", "tar"}, {"users.csv" + strings.Repeat("\x00", 248) + "ustar  \x00", "tar"},
		{"\x00\x00\x00\x00\x00\x00\x00\x00", "binary"}, {"\x85\x02\x0c\x03abc\x01\x02", "binary"}, {"email,name\x02\x01\n", "binary"},
		{string(utf16Bytes("email,name\nx,y\n", true)), "utf-16be"}, {string(utf16Bytes("email,name\nx,y\n", false)), "utf-16le"},
		{"\xff\xfe\x00\x00e\x00\x00\x00", "UTF-32"},
	} {
		inspected, read := refusals(t, newFile(t, c.content), comma)
		if inspected != read || !strings.HasPrefix(inspected, "users.csv, line ") || !strings.Contains(inspected, c.want) || !strings.Contains(inspected, "expected CSV in UTF-8; ") {
			t.Errorf("%q is refused with\n%s\nand by a Reader with\n%s\nwant %s", c.content, inspected, read, c.want)
		}
	}
}

func utf16Bytes(text string, big bool) (out []byte) {
	for _, u := range utf16.Encode([]rune(text)) {
		if big {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return out
}

func TestOrdinaryHeadersAreNotTakenForAnotherFormat(t *testing.T) {
	for _, content := range []string{
		"email\nx\n", "email,name\n", `"email","name"` + "\n", "\ufeffemail,name\n", "Email Address,First name,Update (UTC),With partner (y/n)\n", "from date,package type,ORCID\n",
		"select,set,use,copy from\n", "BZhAttribute,PARIS\n", "ssh-key,email\n", "электронная почта,имя\n", "メール,名前\n", "id,email,_meta,$set,#tags,*note\n", "[email],[name]\n",
		"version,dn,users\n1,2,3\n", "email address\nx y\n", "name: given,name: family\nAnn,Test\n", "x=1,y=2\na,b\n", "email|name\n", "-email,-name\n",
		"Select your country,Where you are from,email\n", "Create user,Create date,email\n", "PGDMP,email\nx,y\n", "GIF89a,email\nx,y\n", "Salted__hash,電子メール\n" + strings.Repeat("é", 600),
		"email\n" + strings.Repeat("x", 250) + "Mustard\nCustard@example.com\n", "email\n" + strings.Repeat("x", 251) + "ustar  yellow\n",
	} {
		if got := looksLike([]byte(content)); got != "" {
			t.Errorf("%q is refused: %s", content, got)
		}
	}
}

func TestASepLineIsExplained(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"sep=;", "remove the line, and give --delimiter ';'"}, {"SEP=;", "--delimiter ';'"}, {`"sep=;"`, "--delimiter ';'"}, {"\ufeffsep=|", "--delimiter '|'"},
		{"sep=\t", `--delimiter '\t'`}, {"sep=;;;", "--delimiter ';'"}, {"sep=,", "expected the header; remove the line"}, {"sep=", "expected the header; remove the line"},
	} {
		for _, end := range []string{"\n", "\r\n"} {
			inspected, read := refusals(t, newFile(t, c.line+end+"email;name"+end), comma)
			if inspected != read || !strings.HasPrefix(inspected, `users.csv, line 1: the line says how the fields are separated`) || !strings.HasSuffix(inspected, c.want) {
				t.Errorf("%q is refused with\n%s\nand by a Reader with\n%s\nwant …%s", c.line, inspected, read, c.want)
			}
		}
	}
	if inspected, _ := refusals(t, newFile(t, "sep=;\nemail;name\n"), ';'); !strings.HasSuffix(inspected, "remove the line") {
		t.Errorf("with the same delimiter it is refused with %q; want that the line is removed and nothing else", inspected)
	}
	if inspected, _ := refusals(t, newFile(t, "sepal,petal\n1,2\n"), comma); inspected != "" {
		t.Errorf("a header that begins like such a line is refused: %s", inspected)
	}
}

func TestAHeaderThatMatchesNoRecordIsRefused(t *testing.T) {
	const twoRecords = "users.csv, line 1: the header has 1 field, and each of the 2 records has 2; expected a name for each field; if there is a title or a note above the header, remove it, else name every column"
	for _, c := range []struct{ content, want string }{
		{"All users\nemail,name\nx,y\n", twoRecords},
		{"All users\n\nemail,name\nx,y\n", twoRecords},
		{"email,name\na,b,c\nd,e,f\ng,h,i\n", "users.csv, line 1: the header has 2 fields, and each of the 3 records has 3; expected a name for each field; if there is a title or a note above the header, remove it, else name every column"},
		{"email,name\na;b\nc;d\n", "users.csv, line 1: the header has 2 fields, and each of the 2 records has 1; expected a name for each field; the records seem to be separated by another character than the header; export the file again"},
		{"email,name\na,b,c\n", ""},                // one record proves nothing
		{"email,name\na,b,c\nd\n", ""},             // not in the same way
		{"email,name\na,b,c\nd,e,f\ng,h\n", ""},    // the last record matches
		{"email,name\n\"a,b\",c\n\"d,e\",f\n", ""}, // quotes count
		{"email,name\n", ""},
	} {
		inspected, read := refusals(t, newFile(t, c.content), comma)
		if inspected != c.want || read != c.want {
			t.Errorf("%q is refused with\n%s\nand by a Reader with\n%s\nwant\n%s", c.content, inspected, read, c.want)
		}
	}
}

func TestAFileOfThisProgramIsTakenForNoOther(t *testing.T) {
	for _, content := range []string{
		"email,name\na,b,c\nd,e,f\n", "email,first|last\n--|--\n", "email\n" + strings.Repeat("x", 251) + "ustar\x0000\n", "name=x\nname=y\n",
	} {
		f := newFile(t, content)
		if inspected, _ := refusals(t, f, comma); inspected == "" {
			t.Errorf("%q is not refused as an input", content)
		}
		f.inspected(InspectOptions{BatchSize: 100, Own: true})
	}
	for _, damaged := range []string{"", "email,name\n\"a,b\n", "email,name\n\xff\n", "email,name\n\n\xff\n", "email,\n"} {
		if _, err := newFile(t, damaged).inspect(InspectOptions{BatchSize: 100, Own: true}); !errors.As(err, new(*Refusal)) {
			t.Errorf("%q: %v, want a refusal", damaged, err)
		}
	}
}

// In a file without a header the "names" are values of its first record.
func TestARefusedHeaderIsNotRepeated(t *testing.T) {
	const secret = "Jane Doe"
	for _, content := range []string{
		secret + "," + secret + "\n", secret + ", Berlin\n", " " + secret + "\n", secret + ".\n", secret + "..x\n", secret + "\u00a0,x\n", secret + "\x00,x\n",
		secret + "," + secret + ".x\n", secret + ",\n", secret + "," + strings.Repeat("x", 2000) + "\n", secret + ";x\n", secret + "\nx,y\nz,a\n", secret + ",\"" + secret + "\"x\n",
		secret + ",x@example.com\n", "\"" + secret + "\n" + secret + "\"\n", secret + ",\"x\n",
	} {
		inspected, read := refusals(t, newFile(t, content), comma)
		if inspected == "" || strings.Contains(inspected+read, "Jane") {
			t.Errorf("%q is refused with\n%s\nand by a Reader with\n%s\nwant a refusal without a value", content, inspected, read)
		}
	}
}

// What took a step for each pair of columns would outlast the deadline of the tests.
func TestAHundredThousandColumnsAreRead(t *testing.T) {
	var header, record strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&header, ",object%d.member%d", i/2, i)
		fmt.Fprintf(&record, ",%s", hex.EncodeToString([]byte{byte(i)}))
	}
	f := newFile(t, header.String()[1:]+"\n"+record.String()[1:]+"\n")
	if inspected, read := refusals(t, f, comma); inspected+read != "" {
		t.Errorf("it is refused with %q%q", inspected, read)
	}
}
