// The module in which the server is built: its dependencies are not ours. The name of this file is not go.mod, so that it
// can be embedded.
module kratos.test

go 1.26

require github.com/ory/kratos v1.3.1

// As in Kratos' own go.mod, whose replacements do not count here. github.com/go-swagger/go-swagger and the others have the
// versions that it is released with.
replace (
	github.com/go-swagger/go-swagger => github.com/aeneasr/go-swagger v0.19.1-0.20241013070044-bccef3a12e26
	github.com/gobuffalo/pop/v6 => github.com/ory/pop/v6 v6.2.0
	github.com/gorilla/sessions => github.com/ory/sessions v1.2.2-0.20220110165800-b09c17334dc2
	github.com/mattn/go-sqlite3 => github.com/mattn/go-sqlite3 v1.14.22
)
