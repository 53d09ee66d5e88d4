package validate

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
)

func transformer(header []string) (Records, error) { return mapping.BuiltIn().Compile(header) }

// BenchmarkFile validates generated records against a schema with all of their attributes.
func BenchmarkFile(b *testing.B) {
	const records = 100_000
	path := filepath.Join(b.TempDir(), "users.csv")
	f, err := os.Create(path)
	must(b, err)
	defer f.Close()
	must(b, fakeusers.Write(f, fakeusers.Options{Records: records, Seed: 1}))
	o := Options{
		Encoder: transformer, Schema: &invented, BatchSize: 100, PrimaryKey: "email", Room: identitycloud.MaxBody - 60,
		Pace: Pace{Limits: migration.Limits{RateLimit: 4, Workers: 10}}, TempDir: b.TempDir(), Places: 10,
	}
	for b.Loop() {
		report, err := File(context.Background(), path, o)
		if err != nil || report.Sent != records || report.Errors() > 0 {
			b.Fatalf("%v, %+v", err, report)
		}
	}
	b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// invented is a schema with the attributes of the generated records, as in the platform's default schema if that has them.
var invented = identitycloud.Schema{Name: "user", Attributes: []identitycloud.Attribute{
	{Name: "id", Type: "id"}, {Name: "uuid", Type: "uuid", Constraints: []string{"required"}},
	{Name: "created", Type: "dateTime", Constraints: []string{"required"}},
	{Name: "lastUpdated", Type: "dateTime", Constraints: []string{"required"}},
	{Name: "email", Type: "string", Length: 256, Constraints: []string{"required", "unique", "email-address"}},
	{Name: "emailVerified", Type: "dateTime"},
	{Name: "givenName", Type: "string", Length: 1000},
	{Name: "familyName", Type: "string", Length: 1000},
	{Name: "displayName", Type: "string", Length: 1000},
	{Name: "password", Type: "password-bcrypt"},
	{Name: "mobileNumber", Type: "string", Length: 20, Constraints: []string{"alphanumeric"}},
	{Name: "gender", Type: "string", Length: 100},
	{Name: "birthday", Type: "date"},
	{Name: "age", Type: "integer"}, {Name: "weight", Type: "decimal"}, {Name: "vip", Type: "boolean"},
	{Name: "lastIP", Type: "ipAddress"}, {Name: "display", Type: "json"},
	{Name: "nick", Type: "string", Length: 5, Constraints: []string{"unique"}},
	{Name: "primaryAddress", Type: "object", Attributes: []identitycloud.Attribute{
		{Name: "phone", Type: "string", Length: 100}, {Name: "address1", Type: "string", Length: 1000},
		{Name: "address2", Type: "string", Length: 1000}, {Name: "city", Type: "string", Length: 1000},
		{Name: "zip", Type: "string", Length: 100}, {Name: "stateAbbreviation", Type: "string", Length: 100},
		{Name: "country", Type: "string", Length: 1000},
	}},
	{Name: "clients", Type: "plural", Attributes: []identitycloud.Attribute{
		{Name: "id", Type: "id"}, {Name: "clientId", Type: "string", Length: 100, Constraints: []string{"required"}}, {Name: "name", Type: "string"},
	}},
	{Name: "optIn", Type: "object", Attributes: []identitycloud.Attribute{{Name: "status", Type: "boolean"}}},
}}
