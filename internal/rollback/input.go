package rollback

import (
	"os"

	"durable-dataload/internal/source"
)

// input is a file with its index.
type input struct {
	index *source.Index
	data  *os.File
}

func openInput(index, data string) (*input, error) {
	x, err := source.OpenIndex(index)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(data)
	if err != nil {
		_ = x.Close()
		return nil, err
	}
	return &input{x, f}, nil
}

func (in *input) close() {
	_ = in.index.Close()
	_ = in.data.Close()
}
