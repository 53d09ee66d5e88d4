package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/temporalio/ui-server/v2/server/api"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/csrf"
	"github.com/temporalio/ui-server/v2/server/headers"
	"github.com/temporalio/ui-server/v2/server/route"
	"github.com/temporalio/ui-server/v2/server/rpc"
	"github.com/temporalio/ui-server/v2/ui"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// preferredUI is the port that the temporal CLI's development server uses for its Web UI
// too.
const preferredUI = 8233

// webUI is Temporal's Web UI on our own listener. The module's own server opens
// its port itself, and ends the process if it is in use.
type webUI struct {
	listener net.Listener
	http     *http.Server
	service  io.Closer // the connection to the Temporal service
}

// startUI serves the Web UI of the engine at a loopback address, for browsers with
// a valid code or cookie. client is its connection to the engine, port as in Start.
func startUI(of Address, client *tls.Config, port int) (*webUI, error) {
	provider, err := uiconfig.NewConfigProviderWithRefresh(&uiconfig.Config{
		TemporalGRPCAddress: of.Frontend,
		Host:                loopback,
		EnableUI:            true,
		DefaultNamespace:    Namespace,
		DisableNewsFetch:    true,
		HideLogs:            true,
		CORS:                uiconfig.CORS{CookieInsecure: true}, // plain HTTP on loopback
	})
	if err != nil {
		return nil, err
	}
	all, err := ui.Assets()
	if err != nil {
		return nil, err
	}
	assets, err := fs.Sub(all, "local")
	if err != nil {
		return nil, err
	}
	const overTLS, publicPath = false, ""
	e := echo.New()
	e.Use(middleware.Recover(), middleware.Gzip(), middleware.Secure())
	// Besides the cookie: a page that the browser considers same-site must not
	// send commands. The module accepts a request with an Authorization header;
	// here that header has no meaning.
	check := csrf.MiddlewareConfig(provider, overTLS)
	check.Skipper = middleware.DefaultSkipper
	e.Use(csrf.EnsureTokenCookie(overTLS), middleware.CSRFWithConfig(check))
	if err := route.SetUIRoutes(e, publicPath, assets, provider); err != nil {
		return nil, err
	}
	route.SetRenderRoute(e, "/")

	listener, err := listenForUI(of.dir, port)
	if err != nil {
		return nil, err
	}
	_, taken, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, err
	}
	connection, service := setAPIRoutes(e, provider, of.Frontend, client)
	details := func(ctx context.Context, page string) string { return deepest(ctx, service, page) }
	u := &webUI{
		listener: listener,
		http:     &http.Server{Handler: newAccess(e, of.links(), taken, details), ReadHeaderTimeout: 10 * time.Second},
		service:  connection,
	}
	go func() {
		if err := u.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			_ = listener.Close()
		}
	}()
	return u, nil
}

// listenForUI listens on the port, or where that is 0 on the first that is free: that of the
// last time, so that a page in a browser stays good, preferredUI, or any.
func listenForUI(dir string, port int) (net.Listener, error) {
	listen := func(port int) (net.Listener, error) {
		return net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	}
	if port != 0 {
		listener, err := listen(port)
		if err != nil {
			err = fmt.Errorf("port %d, which --ui-port names: %w; give another", port, err)
		}
		return listener, err
	}
	file := filepath.Join(dir, "ui-port")
	ports := []int{preferredUI, 0}
	if data, err := os.ReadFile(file); err == nil {
		if last, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 16); err == nil && last > 0 {
			ports = append([]int{int(last)}, ports...)
		}
	}
	var listener net.Listener
	var err error
	for _, port := range ports {
		if listener, err = listen(port); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	taken := listener.Addr().(*net.TCPAddr).Port
	if err := os.WriteFile(file, []byte(strconv.Itoa(taken)+"\n"), 0o600); err != nil {
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}

// url is the address for a browser.
func (u *webUI) url() string { return "http://" + u.listener.Addr().String() }

func (u *webUI) stop() {
	_ = u.http.Close()
	_ = u.service.Close()
}

// setAPIRoutes adds the module's routes that the Web UI needs, and returns their connection to
// the service. The module's own function reads the certificates from files, and has a route
// that checks the network for new versions.
func setAPIRoutes(e *echo.Echo, provider *uiconfig.ConfigProviderWithRefresh, frontend string, settings *tls.Config) (io.Closer, workflowservice.WorkflowServiceClient) {
	service := rpc.CreateGRPCConnection(frontend, settings)
	client := workflowservice.NewWorkflowServiceClient(service)
	forward := []api.Middleware{headers.WithForwardHeaders([]string{"Caller-Type"})}
	g := e.Group("/api/v1")
	g.GET("/settings", api.GetSettings(provider))
	g.GET("/ui-extensions", api.GetUIExtensions(provider, api.TemporalAccessCheck(service, forward)))
	g.GET(api.WorkflowRawHistoryUrl, api.WorkflowRawHistoryHandler(client))
	g.Match([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, "/*",
		api.TemporalAPIHandler(provider, forward, service))
	return service, client
}

// WorkflowPage is the page of a run of a workflow.
func WorkflowPage(id, run string) string {
	return workflowPages + url.PathEscape(id) + "/" + run
}

const workflowPages = "/namespaces/" + Namespace + "/workflows/"

// deepest is the page of the workflow in which something happens now: a child of the one whose
// page is given, or a child of that, or the page itself.
func deepest(ctx context.Context, service workflowservice.WorkflowServiceClient, page string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		escaped, run, isWorkflow := strings.Cut(strings.TrimPrefix(page, workflowPages), "/")
		id, err := url.PathUnescape(escaped)
		if !strings.HasPrefix(page, workflowPages) || !isWorkflow || strings.Contains(run, "/") || err != nil {
			return page
		}
		d, err := service.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
			Namespace: Namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: run},
		})
		children := d.GetPendingChildren()
		if err != nil || len(children) != 1 || children[0].GetRunId() == "" {
			return page
		}
		page = WorkflowPage(children[0].GetWorkflowId(), children[0].GetRunId())
	}
}
