package main

import (
	"testing"

	"durable-dataload/internal/flagtext"
)

func TestTheOptionsPageHasTheOptions(t *testing.T) {
	part, err := flagtext.Program("sandbox", "A local Identity Cloud as a process of its own. `--sandbox` starts one by itself; `starter sandbox reset` empties it.", new(options).flags())
	if err == nil {
		err = flagtext.Check("sandbox", "", part)
	}
	if err != nil {
		t.Error(err)
	}
}
