"""The quiz's WebSocket."""

from channels.generic.websocket import AsyncWebsocketConsumer


class Echo(AsyncWebsocketConsumer):
    """Sends back what it gets, with the name of who is logged in."""

    async def receive(self, text_data=None, bytes_data=None):
        user = self.scope["user"]
        name = user.username if user.is_authenticated else "nobody"
        if text_data is not None:
            await self.send(text_data=f"{name}: {text_data}")
        else:
            await self.send(bytes_data=bytes_data)
