// Serves Google's Auth emulator alone: its command line would start a hub, a logger and a port finder around it, which
// takes ten seconds more.
const [folder, port, project] = process.argv.slice(2);
const { createApp } = require(folder + "/node_modules/firebase-tools/lib/emulator/auth/server");
createApp(project).then((app) => app.listen(Number(port), "127.0.0.1"));
