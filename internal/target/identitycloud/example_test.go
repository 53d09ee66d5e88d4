package identitycloud_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/identitycloud"
)

// A batch of three records: one is created, one exists already, and the result of one is missing.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"stat":"ok","uuid_results":["efd7fe4e-0000-0000-0000-000000000001",
			{"stat":"error","code":361,"error":"unique_violation","error_description":"Attempted to update a duplicate value"},null]}`)
	}))
	defer server.Close()

	adapter, err := identitycloud.NewAdapter(identitycloud.Config{BaseURL: server.URL, ClientID: "id", ClientSecret: "secret"}, target.Hooks{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var records []target.Record
	for _, record := range []string{`{"email":"a@example.com"}`, `{"email":"b@example.com"}`, `{"email":"c@example.com"}`} {
		encoded, err := adapter.Encode([]byte(record), "")
		if err != nil {
			fmt.Println(err)
			return
		}
		records = append(records, encoded)
	}
	answer := adapter.Create(context.Background(), records)
	fmt.Println(answer.Verdict())
	for i, result := range answer.Results {
		if result.Err != nil {
			fmt.Println(i, result.Err.Class, "-", result.Err.Text())
		} else {
			fmt.Println(i, "created:", result.ID)
		}
	}
	// Output:
	// answered
	// 0 created: efd7fe4e-0000-0000-0000-000000000001
	// 1 duplicate - Attempted to update a duplicate value
	// 2 unknown - no result for a record
}
