// The safe `streamChat` of the second article, as written there but for its URL and key, which are parameters.
/* eslint-disable */
async function streamChat(messages, url, key) {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'Authorization': `Bearer ${key}`
    },
    body: JSON.stringify({
      model: 'gpt-4.1',
      messages: messages,
      stream: true
    })
  });
  
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let buffer = ''; // Buffer để xử lý chunk không hoàn chỉnh
  let fullContent = '';
  
  try {
    while (true) {
      const { done, value } = await reader.read();
      
      if (done) {
        // Xử lý buffer còn lại trước khi kết thúc
        if (buffer.trim()) {
          processBuffer(buffer, (content) => {
            fullContent += content;
          });
        }
        console.log('Stream hoàn tất. Tổng nội dung:', fullContent.length, 'chars');
        break;
      }
      
      // Decode chunk
      buffer += decoder.decode(value, { stream: true });
      
      // Tách các dòng hoàn chỉnh
      const lines = buffer.split('\n');
      
      // Giữ lại dòng cuối cùng (có thể incomplete)
      buffer = lines.pop() || '';
      
      // Xử lý các dòng hoàn chỉnh
      for (const line of lines) {
        if (line.startsWith('data: ')) {
          const data = line.slice(6);
          
          if (data === '[DONE]') {
            console.log('Nhận được signal hoàn tất');
            break;
          }
          
          try {
            const parsed = JSON.parse(data);
            const content = parsed.choices?.[0]?.delta?.content;
            if (content) {
              fullContent += content;
              process.stdout.write(content);
            }
          } catch (parseError) {
            // Bỏ qua JSON parse error cho các message không phải JSON
            console.warn('Parse warning:', parseError.message);
          }
        }
      }
    }
  } catch (error) {
    console.error('Stream error:', error);
  }
  
  return fullContent;
}

// Helper function để xử lý buffer
function processBuffer(buffer, callback) {
  const trimmed = buffer.trim();
  if (!trimmed) return;
  
  // Thử parse từng dòng
  trimmed.split('\n').forEach(line => {
    if (line.startsWith('data: ') && line !== 'data: [DONE]') {
      try {
        const data = JSON.parse(line.slice(6));
        const content = data.choices?.[0]?.delta?.content;
        if (content) callback(content);
      } catch (e) {
        // Bỏ qua parse error
      }
    }
  });
}

export { streamChat };
