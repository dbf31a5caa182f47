// Opens the echo socket and shows what comes back.
const socket = new WebSocket(`wss://${location.host}/ws/`);
socket.onopen = () => socket.send("hello");
socket.onmessage = (event) => { document.getElementById("echo").textContent = event.data; };
window.echo = (text) => socket.send(text);
