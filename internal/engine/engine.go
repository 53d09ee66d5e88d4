// Package engine embeds a Temporal service with its Web UI into the process,
// so that a migration needs no other installation.
//
// The state is one SQLite file. Every acknowledged event is on disk
// (write-ahead log, synchronous=FULL) before the service answers, so a killed
// process loses nothing that it had acknowledged. One process at a time owns
// the file: two services on one file would corrupt it.
//
// Only the owner of the folder has access. All four services listen on loopback,
// which every user of the machine can reach, so they require mutual TLS with
// certificates from the folder; the Web UI requires a cookie, which a link with
// a one-time code sets.
package engine

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/headers"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/common/primitives/timestamp"
	"go.temporal.io/server/common/rpc/encryption"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/safetext"
)

const (
	// Namespace is the one namespace of the embedded service.
	Namespace = "default"

	// Retention keeps finished migrations visible in the Web UI. (The helper
	// that creates the namespace would keep them for 24 hours.)
	Retention = 30 * 24 * time.Hour

	loopback = "127.0.0.1"
)

// Address gives other processes of the owner the location of the running engine,
// and access to it.
type Address struct {
	Frontend string `json:"frontend"` // host:port of the Temporal service
	UI       string `json:"ui"`       // URL of the Web UI; see Link
	PID      int    `json:"pid"`

	dir string
}

// ClientOptions are those of a client of this engine, with its certificate.
func (a Address) ClientOptions() (client.Options, error) {
	settings, err := clientTLS(a.dir)
	return client.Options{HostPort: a.Frontend, Namespace: Namespace, ConnectionOptions: client.ConnectionOptions{TLS: settings}}, err
}

// Link returns a link to a page of the Web UI ("" is the first one) for a browser
// without a cookie: it works once, within LinkLife. If the engine's folder cannot be written,
// it leads a browser without a cookie nowhere. For a workflow it leads to what it runs now, if
// that is a workflow.
func (a Address) Link(path string) string {
	code, err := a.links().keep(path, time.Now())
	if err != nil {
		return a.UI + path
	}
	return a.UI + "/?" + codeParameter + "=" + code
}

func (a Address) links() links { return links(filepath.Join(a.dir, "links")) }

// ErrOwned means that another process owns the engine's state folder.
var ErrOwned = errors.New("another process owns the engine's state folder")

// Engine is a running embedded Temporal service.
type Engine struct {
	address Address
	lock    *durablefs.Lock
	server  temporal.Server
	ui      *webUI
	log     *os.File
	left    []string
	before  int
}

// Start starts the service on the SQLite file in dir (created if it is missing)
// and returns when it answers. It returns ErrOwned if another process runs an
// engine there: use Running to find it. The search attributes are registered
// in a new database. The Web UI gets the port uiPort; if that is 0, the port of the last
// time, 8233, or a free one.
func Start(ctx context.Context, dir string, attributes map[string]enumspb.IndexedValueType, uiPort int) (*Engine, error) {
	if err := durablefs.MkdirAll(dir); err != nil {
		return nil, err
	}
	lock, err := durablefs.TryLock(filepath.Join(dir, "lock"))
	if errors.Is(err, durablefs.ErrLocked) {
		return nil, ErrOwned
	}
	if err != nil {
		return nil, err
	}
	e := &Engine{lock: lock}
	if before, err := readAddress(dir); err == nil {
		e.before = before.PID
	}
	// Another program may meanwhile use the address of a killed process.
	if err := os.Remove(addressFile(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		lock.Unlock()
		return nil, err
	}
	if err := e.start(ctx, dir, attributes, uiPort); err != nil {
		e.Stop()
		return nil, fmt.Errorf("the embedded Temporal service did not start: %w", err)
	}
	return e, nil
}

// Running finds the engine that another process runs on dir, and verifies that
// this engine answers. The process may still be starting, so the address is read
// again until ctx ends.
func Running(ctx context.Context, dir string) (Address, error) {
	for {
		address, err := readAddress(dir)
		if err == nil {
			if err = address.dial(ctx); err == nil {
				return address, nil
			}
		}
		select {
		case <-ctx.Done():
			return address, fmt.Errorf("process %d holds the engine's lock in %s but does not answer: %w", address.PID, dir, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// IsOwned reports whether a process runs an engine on dir. An error says that it is not known: os.ErrNotExist where there
// was no engine, or dir is not there.
func IsOwned(dir string) (bool, error) { return durablefs.IsLocked(filepath.Join(dir, "lock")) }

// IsFree reports whether it is known that no process runs an engine on dir.
func IsFree(dir string) bool {
	owned, err := IsOwned(dir)
	return err == nil && !owned
}

// WaitUntilFree waits until no process runs an engine on dir, and reports whether
// that happened in time.
func WaitUntilFree(dir string, limit time.Duration) bool {
	for end := time.Now().Add(limit); !IsFree(dir); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// Address returns the address of the engine.
func (e *Engine) Address() Address { return e.address }

// Left returns the databases of other versions of the engine in the folder, if
// this start was the first one with this version, and so created a new database.
// This program cannot read the old ones.
func (e *Engine) Left() []string { return e.left }

// Before is the id of the process that ran the engine before and ended without stopping it, 0 if
// there was none.
func (e *Engine) Before() int { return e.before }

// Stop ends the service and releases the state folder.
func (e *Engine) Stop() {
	if e.ui != nil {
		e.ui.stop()
	}
	if e.address.dir != "" {
		_ = os.Remove(addressFile(e.address.dir)) // else the next one takes this process for a dead one
	}
	if e.server != nil {
		_ = e.server.Stop()
	}
	if e.log != nil {
		_ = e.log.Close()
	}
	e.lock.Unlock()
}

func (e *Engine) start(ctx context.Context, dir string, attributes map[string]enumspb.IndexedValueType, uiPort int) error {
	server, client, err := certificates(dir)
	if err != nil {
		return err
	}
	ports, release, err := reservePorts(4)
	if err != nil {
		return err
	}
	defer release()
	file := database(dir, headers.ServerVersion)
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if e.left, err = filepath.Glob(database(safetext.Pattern(dir), "*")); err != nil {
			return err
		}
	}
	cfg := serverConfig(file, ports)
	if err := prepareDatabase(file, cfg, attributes); err != nil {
		return err
	}
	logger, logFile, err := fileLogger(filepath.Join(dir, "engine.log"))
	if err != nil {
		return err
	}
	e.log = logFile

	service, err := newServer(cfg, ports, logger, server, client)
	if err != nil {
		return err // service is a non-nil interface then
	}
	e.server = service
	if err := e.server.Start(); err != nil {
		return err
	}
	e.address = Address{Frontend: cfg.PublicClient.HostPort, PID: os.Getpid(), dir: dir}
	if err := os.RemoveAll(string(e.address.links())); err != nil {
		return err
	}
	if err := e.address.waitUntilItAnswers(ctx); err != nil {
		return err
	}
	if e.ui, err = startUI(e.address, client, uiPort); err != nil {
		return fmt.Errorf("its Web UI: %w", err)
	}
	e.address.UI = e.ui.url()
	return e.address.write()
}

// newServer configures the services of Temporal, each at a port of its own.
func newServer(cfg *config.Config, ports []int, logger log.Logger, server, client *tls.Config) (temporal.Server, error) {
	hosts := func(i int) static.Hosts {
		return static.SingleLocalHost(net.JoinHostPort(loopback, strconv.Itoa(ports[i])))
	}
	return temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()), // every certificate has all rights
		temporal.WithTLSConfigFactory(&encryption.FixedTLSConfigProvider{
			InternodeServerConfig: server,
			InternodeClientConfig: client,
			FrontendServerConfig:  server,
			FrontendClientConfig:  client,
		}),
		temporal.WithDynamicConfigClient(tuning()),
		temporal.WithStaticHosts(map[primitives.ServiceName]static.Hosts{
			primitives.FrontendService: hosts(0),
			primitives.HistoryService:  hosts(1),
			primitives.MatchingService: hosts(2),
			primitives.WorkerService:   hosts(3),
		}),
	)
}

// database is the file of one version of the service, which creates the schema in
// a new file and never upgrades it.
func database(dir, version string) string { return filepath.Join(dir, "temporal-"+version+".db") }

// inURI writes a path as a part of a URI: the service makes "file:<name>?<options>" of the
// database's name as it is, and in that ?, # and % mean something else.
func inURI(path string) string { return (&url.URL{Path: path}).EscapedPath() }

func serverConfig(file string, ports []int) *config.Config {
	store := config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: inURI(file),
		ConnectAttributes: map[string]string{
			"mode":         "rwc",
			"journal_mode": "wal",
			"synchronous":  "2", // FULL: acknowledged means on disk
		},
		MaxConns:     1,
		MaxIdleConns: 1,
	}
	service := func(port int) config.Service {
		return config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: loopback}}
	}
	frontend := net.JoinHostPort(loopback, strconv.Itoa(ports[0]))
	return &config.Config{
		Global: config.Global{Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback}},
		Persistence: config.Persistence{
			DefaultStore:     sqliteplugin.PluginName,
			VisibilityStore:  sqliteplugin.PluginName,
			NumHistoryShards: 1,
			DataStores:       map[string]config.DataStore{sqliteplugin.PluginName: {SQL: &store}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        "active",
			CurrentClusterName:       "active",
			ClusterInformation: map[string]cluster.ClusterInformation{
				"active": {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend, ClusterID: "durable-dataload"},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			"frontend": service(ports[0]),
			"history":  service(ports[1]),
			"matching": service(ports[2]),
			"worker":   service(ports[3]),
		},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		PublicClient: config.PublicClient{HostPort: frontend},
	}
}

// tuning configures the service for one machine and one user.
func tuning() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		// One partition per task queue: the first poll finds a task.
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
		// A load continues as new as soon as its run is long enough.
		dynamicconfig.WorkflowIdReuseMinimalInterval.Key(): time.Duration(0),
		// Nobody stops these workers, and the service waits a second for their polls when it stops. The scanners look twice a
		// day for rows that nothing refers to, of which one machine has few. Without a worker for it the children of a
		// workflow that ends are ended directly.
		dynamicconfig.TaskQueueScannerEnabled.Key():       false,
		dynamicconfig.HistoryScannerEnabled.Key():         false,
		dynamicconfig.EnableParentClosePolicyWorker.Key(): false,
	}
}

func prepareDatabase(file string, cfg *config.Config, attributes map[string]enumspb.IndexedValueType) error {
	store := cfg.Persistence.DataStores[sqliteplugin.PluginName].SQL
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		// A crash must not leave a partial schema under the real name. So the schema is created under another one, without a
		// journal and with one fsync for all of its statements.
		fresh := file + ".new"
		if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := durablefs.Touch(fresh); err != nil {
			return err
		}
		freshStore := *store
		freshStore.DatabaseName = inURI(fresh)
		freshStore.ConnectAttributes = map[string]string{"mode": "rwc", "journal_mode": "off", "synchronous": "0"}
		if err := sqlite.SetupSchema(&freshStore); err != nil {
			return fmt.Errorf("cannot set up the database %s: %w", file, err)
		}
		if err := durablefs.Sync(fresh); err != nil {
			return err
		}
		if err := durablefs.Rename(fresh, file); err != nil {
			return err
		}
	}
	namespace, err := sqlite.NewNamespaceConfig(cfg.ClusterMetadata.CurrentClusterName, Namespace, false, attributes)
	if err != nil {
		return err
	}
	namespace.Detail.Config.Retention = timestamp.DurationPtr(Retention)
	if err := sqlite.CreateNamespaces(store, namespace); err != nil {
		return fmt.Errorf("cannot open the database %s: %w", file, err)
	}
	return nil
}

func fileLogger(path string) (log.Logger, *os.File, error) {
	f, err := durablefs.OpenLog(path)
	if err != nil {
		return nil, nil, err
	}
	return log.NewZapLogger(log.BuildZapLogger(log.Config{OutputFile: path, Level: "error"})), f, nil
}

func addressFile(dir string) string { return filepath.Join(dir, "address.json") }

func (a Address) write() error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return durablefs.WriteFile(addressFile(a.dir), data)
}

func readAddress(dir string) (Address, error) {
	a := Address{dir: dir}
	data, err := durablefs.ReadOwn(addressFile(dir))
	if err != nil {
		return a, err
	}
	err = json.Unmarshal(data, &a)
	return a, err
}

// dial verifies that the engine answers, and not another program at its port.
func (a Address) dial(ctx context.Context) error {
	settings, err := clientTLS(a.dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: settings}).DialContext(ctx, "tcp", a.Frontend)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (a Address) waitUntilItAnswers(ctx context.Context) error {
	for {
		err := a.dial(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nothing answers at %s: %w", a.Frontend, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
