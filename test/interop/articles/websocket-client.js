// The reconnecting `WebSocketClient` of the first article, as written there; the backticks that its text lost are
// restored, and `WebSocket`, which Node 20 has not, is that of `ws`.
import { WebSocket } from 'ws'

/* eslint-disable */
// ✅ KHẮC PHỤC 1: Implement reconnection logic
class WebSocketClient {
  constructor(url, options = {}) {
    this.url = url;
    this.maxRetries = options.maxRetries || 5;
    this.retryDelay = options.retryDelay || 1000;
    this.retryCount = 0;
  }

  connect() {
    return new Promise((resolve, reject) => {
      const ws = new WebSocket(this.url);
      
      ws.onopen = () => {
        console.log('Connected');
        this.retryCount = 0;
        resolve(ws);
      };

      ws.onerror = (error) => {
        console.error('WebSocket error:', error);
      };

      ws.onclose = (event) => {
        console.log(`Connection closed: ${event.code}`);
        this.handleReconnect();
      };

      this.ws = ws;
    });
  }

  async handleReconnect() {
    if (this.retryCount >= this.maxRetries) {
      console.error('Max retries reached');
      return;
    }

    this.retryCount++;
    const delay = this.retryDelay * Math.pow(2, this.retryCount - 1);
    console.log(`Retrying in ${delay}ms (attempt ${this.retryCount})`);

    await new Promise(r => setTimeout(r, delay));
    return this.connect();
  }
}

export { WebSocketClient };
