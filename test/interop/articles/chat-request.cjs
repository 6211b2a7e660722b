// The `ws` client of the second article, as written there but for its URL and model, which are arguments.
// Usage: node chat-request.cjs ws://127.0.0.1:3000/ws/chat gpt-4.1
/* eslint-disable */
const [url, model] = process.argv.slice(2);

// WebSocket Client kết nối đến HolySheep AI
// Cài đặt: npm install ws

const WebSocket = require('ws');

// Lưu ý: HolySheep sử dụng SSE cho streaming mặc định
// WebSocket endpoint có thể được cấu hình riêng

// Demo: Kết nối WebSocket đơn giản
const ws = new WebSocket(url);

ws.on('open', function open() {
  console.log('✅ WebSocket kết nối thành công!');
  
  // Gửi request đến server
  ws.send(JSON.stringify({
    type: 'chat.request',
    model: model,
    messages: [
      { role: 'user', content: 'Xin chào, bạn là ai?' }
    ]
  }));
});

ws.on('message', function incoming(data) {
  const message = JSON.parse(data);
  
  if (message.type === 'chat.response') {
    // Nhận từng chunk từ server
    const content = message.delta?.content || '';
    if (content) {
      process.stdout.write(content);
    }
    
    if (message.done) {
      console.log('\n✅ Hoàn tất!');
      ws.close();
    }
  }
});

ws.on('error', function error(err) {
  console.error('❌ WebSocket error:', err.message);
});

ws.on('close', function close() {
  console.log('🔌 Kết nối đã đóng');
});
