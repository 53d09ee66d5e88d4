package rollback

import (
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

// input is a file with its index.
type input struct {
	index *source.Index
	data  store.RandomReader
}

func openInput(index, data string) (*input, error) {
	x, err := source.OpenIndex(index)
	if err != nil {
		return nil, err
	}
	f, err := store.OpenRandom(data)
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
