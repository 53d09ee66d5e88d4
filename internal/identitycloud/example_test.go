package identitycloud_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"durable-dataload/internal/identitycloud"
)

// A batch of three records: one is created, one exists already, and the result of one is missing.
func ExampleClient_CreateBatch() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"stat":"ok","uuid_results":["efd7fe4e-0000-0000-0000-000000000001",
			{"stat":"error","code":361,"error":"unique_violation","error_description":"Attempted to update a duplicate value"},null]}`)
	}))
	defer server.Close()

	client, err := identitycloud.New(identitycloud.Config{BaseURL: server.URL, ClientID: "id", ClientSecret: "secret"})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := client.NewBody([][]byte{[]byte(`{"email":"a@example.com"}`), []byte(`{"email":"b@example.com"}`), []byte(`{"email":"c@example.com"}`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := client.CreateBatch(context.Background(), body)
	fmt.Println(answer.Verdict)
	for i, record := range answer.Records {
		switch {
		case record.Unknown != "":
			fmt.Println(i, "unknown")
		case record.Err != nil && record.Err.IsDuplicate():
			fmt.Println(i, "duplicate:", record.Err.Words())
		case record.Err != nil:
			fmt.Println(i, "failed:", record.Err.Words())
		default:
			fmt.Println(i, "created:", record.UUID)
		}
	}
	// Output:
	// answered
	// 0 created: efd7fe4e-0000-0000-0000-000000000001
	// 1 duplicate: Attempted to update a duplicate value
	// 2 unknown
}
