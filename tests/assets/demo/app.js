"use strict";

const state = document.getElementById("ws-state");
const log = document.getElementById("ws-log");
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const socket = new WebSocket(`${scheme}//${location.host}/ws`);

socket.addEventListener("open", () => { state.textContent = "open"; });
socket.addEventListener("close", () => { state.textContent = "closed"; });
socket.addEventListener("message", (event) => {
  const line = document.createElement("li");
  line.textContent = event.data;
  log.append(line);
});

document.getElementById("chat").addEventListener("submit", (event) => {
  event.preventDefault();
  socket.send(event.target.elements.message.value);
});

new EventSource("/events").addEventListener("tick", (event) => {
  document.getElementById("sse-tick").textContent = event.data;
});
