package main

import (
	"testing"

	"durable-dataload/internal/flagtext"
)

func TestTheOptionsPageHasTheOptions(t *testing.T) {
	part, err := flagtext.Program("worker", "A worker for a Temporal service of your own: [temporal.md](temporal.md).", new(options).flags())
	if err == nil {
		err = flagtext.Check("worker", "", part)
	}
	if err != nil {
		t.Error(err)
	}
}
